"""Pack of neural architectures for NablAFx."""

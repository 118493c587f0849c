"""Example pack for NablAFx."""

"""An example of a pack for NablAFx."""

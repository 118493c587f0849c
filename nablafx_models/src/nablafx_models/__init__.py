"""NablAFx pack: models."""

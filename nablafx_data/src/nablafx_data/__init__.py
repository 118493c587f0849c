"""NablAFx pack: data."""

"""NablAFx pack of datasets."""

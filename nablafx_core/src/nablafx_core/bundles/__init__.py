"""Save and load trained models as bundles, and convert files of other projects."""

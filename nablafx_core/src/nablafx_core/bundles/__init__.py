"""A trained model as a file: bundles, and files of other projects."""

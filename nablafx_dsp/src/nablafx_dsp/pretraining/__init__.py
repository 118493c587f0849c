"""Initial weights of processors: targets, fits to them, and weight files."""

"""Audio files and sample rates."""

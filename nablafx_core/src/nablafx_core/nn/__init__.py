"""Neural network parts that several packs need."""

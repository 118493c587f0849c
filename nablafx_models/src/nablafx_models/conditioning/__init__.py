"""How controls reach the layers of a model; the same for every architecture."""

"""How well a model does on whole recordings."""

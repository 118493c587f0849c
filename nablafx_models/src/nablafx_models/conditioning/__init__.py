"""Conditionings: how the controls reach the layers of a model, for every architecture."""

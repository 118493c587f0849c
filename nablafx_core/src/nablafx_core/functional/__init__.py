"""Differentiable functions that several packs use, each with its equation."""

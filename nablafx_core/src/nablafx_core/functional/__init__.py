"""Differentiable functions that several packs compute with, each with its equation."""

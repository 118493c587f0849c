"""Compiled kernels, and their common parts: selection, compilation, vectors, memory and threads."""

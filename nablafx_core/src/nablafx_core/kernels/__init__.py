"""Compiled kernels, and what they have in common: whether they are used, how they are compiled, vectors, memory."""

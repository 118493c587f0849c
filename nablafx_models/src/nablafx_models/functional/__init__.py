"""Differentiable functions of tensors; each has its equation in its docstring."""

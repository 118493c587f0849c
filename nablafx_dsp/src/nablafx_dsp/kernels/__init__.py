"""Compiled numba code: kernels/X.py is what functional/X.py makes differentiable."""

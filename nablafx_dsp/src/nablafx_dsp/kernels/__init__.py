"""Forward and backward passes compiled by numba: functional/X.py makes a differentiable function of kernels/X.py."""

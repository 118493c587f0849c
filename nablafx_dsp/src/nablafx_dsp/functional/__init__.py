"""Signal processing as differentiable functions of tensors; functional/X.py uses kernels/X.py where it is compiled."""

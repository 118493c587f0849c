"""Signal processing as functions of tensors."""

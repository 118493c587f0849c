"""Compiled loops on arrays: the forward and backward passes of the functions in `nablafx_models.functional`."""

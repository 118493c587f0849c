"""Fit the initial weights of processors to targets."""

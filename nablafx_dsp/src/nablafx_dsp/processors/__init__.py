"""Processors: the parts of gray-box chains."""

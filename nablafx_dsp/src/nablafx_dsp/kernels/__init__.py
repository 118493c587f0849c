"""Compiled recursions and their adjoints."""

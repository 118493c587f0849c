"""Compiled recurrences and their adjoints."""

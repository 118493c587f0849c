"""Losses, metrics and responses."""

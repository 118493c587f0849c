"""Scores of models on whole recordings, and recorded tests."""

"""Conditionings: how controls, and features of the audio, modulate the layers of a model or extend its input."""

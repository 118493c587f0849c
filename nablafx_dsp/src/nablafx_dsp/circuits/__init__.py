"""Analogue circuits, solved numerically from their equations."""

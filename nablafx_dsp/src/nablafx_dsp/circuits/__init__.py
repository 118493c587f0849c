"""Circuits solved from their equations."""

"""Recordings of an effect, how they are split, and how they are read segment by segment."""

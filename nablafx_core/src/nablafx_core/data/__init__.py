"""Read, check and split recordings of an effect, and cut them into segments."""

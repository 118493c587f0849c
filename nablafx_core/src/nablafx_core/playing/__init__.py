"""A trained model at work: as a stream, and from file to file."""

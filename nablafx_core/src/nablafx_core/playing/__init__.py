"""Run a trained model on a stream of blocks, or from file to file."""

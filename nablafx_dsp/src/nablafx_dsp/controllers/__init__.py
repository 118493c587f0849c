"""What drives a processor's parameters."""

"""Training losses, metrics, and measured responses of processors."""

"""Networks inside of processors."""

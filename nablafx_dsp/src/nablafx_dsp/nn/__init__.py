"""Networks inside processors."""

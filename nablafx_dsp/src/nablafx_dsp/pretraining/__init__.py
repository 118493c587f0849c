"""What processors begin as: targets, fits of them, and files of weights."""

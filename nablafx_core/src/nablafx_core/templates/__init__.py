"""Files that commands write for a user to change."""

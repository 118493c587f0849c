"""Files that commands write for a person to change."""

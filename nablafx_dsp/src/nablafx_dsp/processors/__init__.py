"""Parts of gray-box chains."""

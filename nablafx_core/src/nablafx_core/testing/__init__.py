"""The laws that everything a pack registers must keep."""

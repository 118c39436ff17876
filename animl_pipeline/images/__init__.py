"""Open an image upright, cut it, write it."""

"""A network that knows itself, how a crop is read for it, and what it predicts."""

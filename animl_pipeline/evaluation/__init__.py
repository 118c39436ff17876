"""How good a classifier is, and how surely that is known."""

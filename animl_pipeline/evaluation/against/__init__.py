"""Two classifiers, or a classifier and another tool, compared on the same crops."""

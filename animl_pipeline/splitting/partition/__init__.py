"""Dividing groups of crops into splits as an optimisation problem."""

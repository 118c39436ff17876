"""Dividing the crops into train, val and test so that no location is in two, and proving it."""

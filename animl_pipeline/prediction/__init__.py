"""A whole image in, answers out: what predict, serve and every export share."""

"""A detector over a folder of images."""

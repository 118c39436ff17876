"""From a camera-trap export to a trained, honestly evaluated species classifier."""

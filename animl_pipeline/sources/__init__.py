"""Where images come from, and how each arrives verified."""

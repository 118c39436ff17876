"""Pages a person reads, and the pictures on them."""

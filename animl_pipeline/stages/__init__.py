"""One module per command: its options, what it refuses, what it writes."""

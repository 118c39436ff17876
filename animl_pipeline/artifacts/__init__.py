"""Every file between two stages: its columns, who writes it, the names of the splits."""

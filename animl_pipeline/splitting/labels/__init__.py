"""From categories to labels: the label spec, taxa, and how both are applied."""

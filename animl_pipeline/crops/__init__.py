"""From boxes to square crops: which boxes, by what rule, and the cut."""

"""Content: the ports of a place that holds it, and the places that need no network."""

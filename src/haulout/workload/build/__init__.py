"""Making an image: the disk in one pass, the layer around it, and telling the broker."""

"""Building an image: the disk in one pass, the layer around it, and the registration with a broker."""

"""Recipes for machine images, from Debian's packages alone."""

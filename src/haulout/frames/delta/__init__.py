"""Deltas: making, reading and expanding what leads from one plain disk to another. All of it needs numpy."""

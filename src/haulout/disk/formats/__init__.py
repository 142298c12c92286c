"""Disk formats, one module each."""

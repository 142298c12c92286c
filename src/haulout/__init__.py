"""Haulout ships bootable machine disks through ordinary OCI registries."""

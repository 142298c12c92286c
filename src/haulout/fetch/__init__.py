"""Fetching: how a disk comes into its partial file, by frames where it has a table of contents, else as a blob."""

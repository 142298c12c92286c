"""Backports: consumer branches of libraries, and which of them carry which fix. An island: git and files only.

Everything here takes folders with clones and returns values; :mod:`haulout.cli.backport` shows them.
"""

from __future__ import annotations

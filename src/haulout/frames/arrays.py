"""The types of the numpy arrays that seeds, deltas and guided framing work with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
"""Hints of blocks."""
Numbers = npt.NDArray[np.int64]
"""Numbers of blocks or frames, or places of blocks."""
SeedNumbers = npt.NDArray[np.int16]
Columns = npt.NDArray[np.uint32]
Kinds = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

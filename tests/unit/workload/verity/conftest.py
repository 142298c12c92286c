"""A disk of 300 blocks with its hashes."""

from __future__ import annotations

import pytest
from tests.support.verity_images import data_of, hashed

BLOCK = 4096


@pytest.fixture(scope="module")
def whole():
    data = data_of(300)[: 300 * BLOCK]
    return hashed(data, b"salt")

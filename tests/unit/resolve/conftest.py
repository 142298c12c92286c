"""A store that counts what it is asked."""

from __future__ import annotations

import pytest
from tests.support.shapes import CountingStore


@pytest.fixture
def store():
    return CountingStore()

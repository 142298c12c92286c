"""One volume for all tests."""

from __future__ import annotations

import pytest
from tests.support.luks_volumes import PLAIN

from haulout.workload import luks

PASSPHRASE = b"correct horse"


@pytest.fixture(scope="module")
def volume():
    return luks.create(PASSPHRASE, iterations=1000)


@pytest.fixture(scope="module")
def image(volume):
    return volume.header + volume.encrypt(0, PLAIN)

"""A folder whose images can be mounted."""

from __future__ import annotations

import pytest
from tests.support.rootfs import can_mount


@pytest.fixture(scope="module")
def mountable(tmp_path_factory):
    place = tmp_path_factory.mktemp("mount")
    if reason := can_mount(place):
        pytest.skip(reason)
    return place

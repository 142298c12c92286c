"""A push publishes the disks first: what cannot be attached is an error, and what need not be written is not written."""

from __future__ import annotations

import pytest
from tests.support.disks import raw_disk
from tests.support.simulators.registry import Response, SimulatedRegistry

from haulout.errors import NotAttached
from haulout.oci import Architecture, parse_reference
from haulout.usecases.push import DiskSource, push

pytestmark = pytest.mark.usefixtures("own_places")
X86 = Architecture.X86_64


@pytest.fixture
def disks(tmp_path):
    return [DiskSource(raw_disk(tmp_path / f"{n}.raw", data_mib=1, size_mib=4, seed=n), X86) for n in "12"]


@pytest.fixture
def registry():
    with SimulatedRegistry(referrers_api=False) as server:
        yield server


def at(registry, tag):
    return parse_reference(f"{registry.host}/m:{tag}")


def tags(registry):
    return {tag for _, tag in registry.tags}


def test_a_delta_that_cannot_be_attached_leaves_the_disk_published(registry, disks):
    push(at(registry, "1"), disks[0])
    denied = Response(400, {"Content-Type": "application/json"}, b'{"errors":[{"code":"TAG_INVALID"}]}')
    registry.before = lambda request: denied if request.method == "PUT" and "/sha256-" in request.path else None
    with pytest.raises(NotAttached, match=r"the disks are published as .* but a delta could not be attached"):
        push(at(registry, "2"), disks[1], delta_from=[at(registry, "1")])
    assert tags(registry) == {"1", "2"}


def test_pushing_the_same_again_writes_nothing_where_tags_are_immutable(registry, disks):
    first = push(at(registry, "1"), disks[0])
    registry.before = lambda request: None if request.method in {"GET", "HEAD"} else Response(400)
    again = push(at(registry, "1"), disks[0])
    assert again.index == first.index
    assert again.traffic.requests <= 4

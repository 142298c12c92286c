"""Copies between real registries: whole to the last referrer, mounted, and never sent twice, however often killed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest
from tests.support.disks import raw_disk
from tests.support.servers import docker_registry, needs
from tests.support.stores import put, put_manifest

from haulout import SyncRule, attach, copy, detach, discover, pull, push, sync, tags
from haulout.oci import EMPTY, empty_config_manifest, parse_reference
from haulout.places import Places

pytestmark = [pytest.mark.tools, needs("docker-registry")]
SOURCE = Path(__file__).parents[2] / "src"
SBOM = "application/spdx+json"
SIGNATURE = "application/vnd.dev.cosign.simplesigning.v1+json"
POINTS = 8
"""Moments at which a copy is killed, spread over its requests."""
_STORED = re.compile(r"PUT \S*digest=(sha256(?::|%3A)[0-9a-f]{64})\S* HTTP\S* 201")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Two versions with a delta, an SBOM on the index, and a signature under cosign's tag."""
    place = tmp_path_factory.mktemp("published")
    with docker_registry(place) as server:
        old, new = raw_disk(place / "1.raw", data_mib=4, size_mib=16), place / "2.raw"
        data = bytearray(old.read_bytes())
        data[1 << 20 : 3 << 20] = data[2 << 20 : 4 << 20]
        new.write_bytes(data)
        push(f"{server.host}/m:1", old, architecture="x86_64", level=1)
        done = push(f"{server.host}/m:2", new, architecture="x86_64", level=1, delta_from=[f"{server.host}/m:1"])
        (place / "s.json").write_text("{}")
        attach(f"{server.host}/m:2", place / "s.json", artifact_type=SBOM)
        with Places() as places:
            store = places.open(parse_reference(f"{server.host}/m:2"), push=True)
            layer = put(store, b"{}", SIGNATURE)
            store.push_blob(EMPTY, lambda: BytesIO(b"{}"))
            put_manifest(store, empty_config_manifest((layer,)), f"sha256-{done.index.hex}.sig")
        yield server, place, old, new


def kinds(reference):
    return sorted(each.artifact_type for each in discover(reference).attached)


def test_a_copy_is_whole_pulls_by_delta_and_is_mounted_within_a_registry(published, tmp_path):
    server, _, old, new = published
    source = f"{server.host}/m:2"
    with docker_registry(tmp_path) as other:
        done = copy(source, f"{other.host}/n:2", jobs=4)
        assert done.missing == done.blobs
        assert len(done.signature_tags) == 1
        assert kinds(f"{other.host}/n:2") == kinds(source)
        assert {SBOM, SIGNATURE} <= set(kinds(source))
        assert [each.tag for each in tags(f"{other.host}/n").tags] == ["2"]
        again = copy(source, f"{other.host}/n:2")
        assert (again.missing.count, again.pinned) == (0, done.pinned)
        mounted = copy(f"{other.host}/n:2", f"{other.host}/deep/er:2", jobs=4)
        assert mounted.missing.count == 0
        assert mounted.traffic.sent < 32 << 10, "manifests alone"
        got = pull(
            f"{other.host}/deep/er:2", architecture="x86_64", disk_type="applehv", output=tmp_path / "o", seeds=[old]
        )
        assert (tmp_path / "o").read_bytes() == new.read_bytes()
        assert got.verified == "frames"
        statuses = {each.source[-1]: each.status for each in sync(SyncRule(f"{server.host}/m", f"{other.host}/n")).tags}
        assert statuses == {"1": "copied", "2": "unchanged"}
        (sbom,) = [each for each in discover(f"{other.host}/n:2").attached if each.artifact_type == SBOM]
        detach(f"{other.host}/n:2", sbom.digest)
        assert SBOM not in kinds(f"{other.host}/n:2")
        assert SBOM in kinds(f"{other.host}/deep/er:2")


def killed_after(requests, source, target, server):
    """Begin a copy and kill it once the server has answered so many more requests; whether it was still under way."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from haulout import copy; copy(sys.argv[2], sys.argv[3], jobs=2)"
    )
    before = len(server.accesses())
    with subprocess.Popen(
        [sys.executable, "-c", code, str(SOURCE), source, target], stderr=subprocess.DEVNULL
    ) as copying:
        while copying.poll() is None and len(server.accesses()) < before + requests:
            time.sleep(0.001)
        was_running = copying.poll() is None
        copying.send_signal(signal.SIGKILL)
    return was_running


def test_a_copy_that_is_killed_again_and_again_sends_no_finished_blob_twice(published, tmp_path):
    server, *_ = published
    with docker_registry(tmp_path) as other:
        target = f"{other.host}/n:2"
        points = [killed_after(1 + 4 * number, f"{server.host}/m:2", target, other) for number in range(POINTS)]
        assert points.count(True) >= 3, "a copy that is over cannot be killed"
        done = copy(f"{server.host}/m:2", target)
        stored = Counter(found[1].replace("%3A", ":") for line in other.log_lines() if (found := _STORED.search(line)))
        assert set(stored.values()) == {1}
        assert len(stored) == done.blobs.count
        assert kinds(target) == kinds(f"{server.host}/m:2")

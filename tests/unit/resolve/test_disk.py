"""What a resolved disk carries."""

from __future__ import annotations

import pytest
from tests.support.shapes import disk, find

from haulout.errors import InvalidManifest
from haulout.oci import Digest, SizedDigest, parse_reference

REFERENCE = parse_reference("quay.io/podman/machine-os:5")
TITLE = "org.opencontainers.image.title"


def test_our_annotations_are_read_and_must_be_well_formed(store):
    toc, plain = SizedDigest(Digest.of(b"toc"), 3), SizedDigest(Digest.of(b"disk"), 1 << 40)
    keys = {"io.github.haulout.toc": str(toc), "io.github.haulout.disk": str(plain)}
    disk(store, annotations=keys, tag="5")
    found = find(store)
    assert (found.toc, found.disk) == (toc, plain)
    disk(store, annotations=keys | {"io.github.haulout.toc": "sha256:x 1"}, tag="5")
    with pytest.raises(InvalidManifest, match=r"io\.github\.haulout\.toc"):
        _ = find(store).toc

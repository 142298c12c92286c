"""The table of contents that a manifest names: fetched, missing, or of something else."""

from __future__ import annotations

import io
import os

import pytest
from tests.support.deltas import Sink
from tests.support.recording_progress import RecordingProgress
from tests.support.shapes import REFERENCE, blob, push

from haulout.errors import InvalidToc
from haulout.frames import MAX_TOC_BYTES
from haulout.frames.pack import pack
from haulout.oci import Architecture, Descriptor, Digest, SizedDigest, empty_config_manifest, mediatype
from haulout.progress import NullProgress
from haulout.resolve import DiskQuery, resolve
from haulout.resolve.toc import load_toc


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A disk as it is stored: the blob and its table."""
    path, sink = tmp_path_factory.mktemp("toc") / "disk", Sink()
    path.write_bytes(os.urandom(100_000))
    fd = os.open(path, os.O_RDONLY)
    try:
        with pack(fd, sink, level=1, jobs=1, task=NullProgress().task("", None)) as made:
            return bytes(sink.data), made.toc
    finally:
        os.close(fd)


def published(store, packed, *, content=None, **changed):
    """Return the disk that is found where its manifest says what is given."""
    data, toc = packed
    table = toc.encode()
    keys = {"toc": SizedDigest(Digest.of(table), len(table)), "disk": toc.disk} | changed
    annotations = {f"io.github.haulout.{key}": str(value) for key, value in keys.items() if value is not None}
    layer = blob(data if content is None else content, mediatype.ZSTD, "m.x86_64.qcow2.zst")
    store.push_blob(Descriptor.of(mediatype.TOC, table), lambda: io.BytesIO(table))
    push(store, empty_config_manifest((layer,), annotations=annotations), "5")
    return resolve(store, REFERENCE, DiskQuery(Architecture.X86_64, None, None))


def test_it_is_read_and_belongs_to_blob_and_disk(store, packed):
    found = load_toc(store, published(store, packed), NullProgress())
    assert found is not None
    assert found.encode() == packed[1].encode()
    assert load_toc(store, published(store, packed, disk=None), NullProgress()) is not None


def test_without_one_none_is_read(store, packed):
    assert load_toc(store, published(store, packed, toc=None), NullProgress()) is None


def test_one_that_was_not_copied_along_is_noted(store, packed):
    progress = RecordingProgress()
    assert load_toc(store, published(store, packed, toc=SizedDigest(Digest.of(b"absent"), 6)), progress) is None
    assert "is missing here" in str(progress.notes)


def test_a_table_of_another_blob_or_disk_is_refused(store, packed):
    with pytest.raises(InvalidToc, match=f"is of a blob of {len(packed[0])} bytes, not 5"):
        load_toc(store, published(store, packed, content=b"other"), NullProgress())
    with pytest.raises(InvalidToc, match="is of another disk than the manifest states"):
        load_toc(store, published(store, packed, disk=SizedDigest(Digest.of(b"other"), 5)), NullProgress())


def test_a_table_that_is_too_large_is_not_fetched(store, packed):
    named = SizedDigest(Digest.of(b"large"), MAX_TOC_BYTES + 1)
    with pytest.raises(InvalidToc, match=f"at most {MAX_TOC_BYTES} are read"):
        load_toc(store, published(store, packed, toc=named), NullProgress())

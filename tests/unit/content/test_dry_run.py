"""A dry run's store: whatever is asked of it, the real one sees nothing that changes it."""

from __future__ import annotations

import io

import pytest

from haulout.content.dry_run import DryRunStore
from haulout.content.memory import MemoryStore
from haulout.errors import DeletionRefused
from haulout.oci import EMPTY, empty_config_manifest


@pytest.fixture
def real():
    with MemoryStore() as store:
        manifest = empty_config_manifest((), artifact_type="application/x")
        store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
        store.push_manifest(manifest.to_bytes(), manifest.media_type, "5.0")
        yield store


def test_nothing_is_deleted(real):
    rehearsal = DryRunStore(real)
    stored = rehearsal.manifest("5.0")
    assert not rehearsal.can_delete()
    for delete in (
        lambda: rehearsal.delete_tag("5.0"),
        lambda: rehearsal.delete_manifest(stored.descriptor.digest),
        lambda: rehearsal.delete_manifest(stored.descriptor.digest, refers=False),
    ):
        with pytest.raises(DeletionRefused, match="a dry run does not delete"):
            delete()
    assert real.manifest("5.0") == rehearsal.manifest("5.0") == stored


def test_nothing_is_written(real):
    rehearsal = DryRunStore(real)
    manifest = empty_config_manifest((), artifact_type="application/y")
    described = rehearsal.push_manifest(manifest.to_bytes(), manifest.media_type, "5.1")
    with rehearsal.ingest() as made:
        made.write(b"bytes")
        blob = made.commit("application/octet-stream")
    assert rehearsal.manifest("5.1").descriptor.digest == described.digest
    assert list(rehearsal.missing) == [blob.digest]
    assert list(real.tags()) == ["5.0"]
    assert not real.has_blob(blob)

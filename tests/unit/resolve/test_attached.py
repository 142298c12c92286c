"""What is attached, where lists of referrers are wrong."""

from __future__ import annotations

import io

from tests.support.stores import put_manifest

from haulout.content import MemoryStore
from haulout.oci import EMPTY, Descriptor, empty_config_manifest, mediatype
from haulout.resolve import subjects


class LyingStore(MemoryStore):
    """Lists what a broken tool wrote into a fallback tag."""

    root: Descriptor
    listed: tuple[Descriptor, ...] = ()

    def referrers(self, subject, artifact_type=None):
        return self.listed if subject == self.root.digest else ()


def test_types_come_from_manifests_and_lines_that_are_not_true_become_notes():
    store = LyingStore()
    store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
    store.root = put_manifest(store, empty_config_manifest(()), "1")
    bundle = put_manifest(store, empty_config_manifest((), artifact_type="x/bundle", subject=store.root.bare()))
    other = put_manifest(store, empty_config_manifest((), artifact_type="x/other"))
    gone = Descriptor.of(mediatype.OCI_MANIFEST, b"gone")
    lie = Descriptor(bundle.media_type, bundle.digest, bundle.size, artifact_type=mediatype.OCI_EMPTY)
    store.listed = (lie, other, gone)
    (found,), notes = subjects(store, store.manifest("1"))
    (one,) = found.referrers
    assert (one.artifact_type, one.listed_type, one.digest) == ("x/bundle", mediatype.OCI_EMPTY, bundle.digest)
    assert len(notes) == 2
    assert "refers to something else" in notes[0]

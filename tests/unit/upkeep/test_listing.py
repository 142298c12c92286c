"""What each tag holds, also where something of it is missing or damaged."""

from __future__ import annotations

import pytest

from haulout.content.memory import MemoryStore
from haulout.errors import ContentError
from haulout.oci import Descriptor, Digest, Index, Platform, SizedDigest, empty_config_manifest
from haulout.oci import annotations as keys
from haulout.progress import NullProgress
from haulout.upkeep import listing
from haulout.upkeep.listing import list_tags


def disk(store, name, size, **notes):
    layer = Descriptor("application/zstd", Digest.of(name.encode()), size, annotations={keys.TITLE: name})
    manifest = empty_config_manifest((layer,), annotations=notes)
    described = store.push_manifest(manifest.to_bytes(), manifest.media_type)
    return Descriptor(
        described.media_type, described.digest, described.size, {keys.DISKTYPE: "qemu"}, Platform("x86_64", "linux")
    )


def tagged(store, tag, *entries, **notes):
    index = Index(entries, annotations=notes)
    return store.push_manifest(index.to_bytes(), index.media_type, tag)


def test_sizes_disks_and_dates(monkeypatch):
    monkeypatch.setattr(listing, "_AT_ONCE", 2)
    store = MemoryStore()
    plain = SizedDigest(Digest.of(b"plain"), 99)
    shared = disk(store, "a.qcow2.zst", 1000, **{keys.DISK: str(plain)})
    nonsense = disk(store, "b.qcow2.zst", 500, **{keys.DISK: "nonsense"})
    index = tagged(store, "1.1", shared, nonsense, shared, **{keys.CREATED: "2026-01-02T03:04:05"})
    for number in range(2, 6):
        tagged(store, f"1.{number}", shared)
    found, hidden = list_tags(store, helpers=False, progress=NullProgress())
    assert [each.tag for each in found] == ["1.5", "1.4", "1.3", "1.2", "1.1"]
    assert hidden == 0
    last = found[-1]
    assert str(last.created) == "2026-01-02 03:04:05+00:00"
    assert [(each.size, each.disk) for each in last.disks] == [(1000, plain), (500, None), (1000, plain)]
    # The empty config counts once.
    assert last.size == 1000 + 500 + 2 + index.size + shared.size + nonsense.size


@pytest.mark.parametrize("date", ["", "yesterday", "2026-13-01T00:00:00Z", "0"])
def test_a_date_that_is_none_is_not_stated(date):
    store = MemoryStore()
    tagged(store, "1", **{keys.CREATED: date})
    ((only,), _) = list_tags(store, helpers=False, progress=NullProgress())
    assert only.created is None


def test_a_missing_entry_counts_by_what_the_index_says_and_a_damaged_tag_says_so(monkeypatch):
    store = MemoryStore()
    gone = Descriptor.of("application/vnd.oci.image.manifest.v1+json", b"gone")
    index = tagged(store, "1.1", gone)
    tagged(store, "1.2", disk(store, "a.qcow2.zst", 10))
    read = store.manifest

    def damaged(selector):
        if selector == "1.2":
            raise ContentError("damaged")
        return read(selector)

    monkeypatch.setattr(store, "manifest", damaged)
    (second, first), _ = list_tags(store, helpers=False, progress=NullProgress())
    assert (first.size, first.disks) == (index.size + gone.size, ())
    assert (second.tag, second.manifest, second.note) == ("1.2", None, "damaged")

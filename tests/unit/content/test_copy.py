"""Copies between stores."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from haulout.content.copy import CopyOptions, copy
from haulout.content.layout import LayoutStore
from haulout.content.memory import MemoryStore
from haulout.content.verify import read_blob
from haulout.errors import ContentError, DigestMismatch, SizeMismatch
from haulout.oci import EMPTY, Descriptor, Digest, Index, empty_config_manifest, mediatype
from haulout.progress import NullProgress

if TYPE_CHECKING:
    from haulout.content.ports import Store
from tests.support.stores import put, put_manifest

BLOB = b"0123456789" * 100


def parsed(store: Store, selector: str | Digest) -> Any:
    return store.manifest(selector).parse("x")


# Copies


def published(store: Store) -> Descriptor:
    entries = []
    for number in range(3):
        layer = put(store, b"disk %d" % number)
        config = put(store, b"{}", mediatype.OCI_EMPTY)
        assert config.digest == EMPTY.digest
        disk = put_manifest(store, empty_config_manifest((layer,)))
        toc = empty_config_manifest((put(store, b"toc %d" % number),), artifact_type="x/toc", subject=disk)
        put_manifest(store, empty_config_manifest((), artifact_type="x/sig", subject=put_manifest(store, toc)))
        entries.append(Descriptor(disk.media_type, disk.digest, disk.size, {"disktype": str(number)}))
    inner = put_manifest(store, Index((entries[2],)))
    store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
    return put_manifest(store, Index((entries[0], entries[1], inner)), "5.0")


def test_a_copy_is_the_same_to_the_last_referrer(store):
    target = MemoryStore()
    root = published(store)
    assert copy(store, "5.0", target, "6.0", progress=NullProgress()).root == root
    assert target.manifest("6.0").data == store.manifest("5.0").data
    disks = parsed(store, "5.0").manifests[:2]
    for disk in disks:
        (toc,) = target.referrers(disk.digest)
        assert toc.artifact_type == "x/toc"
        layer = parsed(target, toc.digest).layers[0]
        assert read_blob(target, layer, 100, "x").startswith(b"toc")
        assert [item.artifact_type for item in target.referrers(toc.digest)] == ["x/sig"]
    assert copy(target, root.digest, store, "7.0").root == root


def test_a_copy_without_referrers_leaves_them(store):
    target = MemoryStore()
    published(store)
    copy(store, "5.0", target, options=CopyOptions(referrers=False))
    first = parsed(store, "5.0").manifests[0]
    assert target.manifest(first.digest).data == store.manifest(first.digest).data
    assert target.referrers(first.digest) == ()
    assert not list(target.tags())


def test_a_copy_of_some_entries_is_another_index_of_the_same_manifests(store):
    target = MemoryStore()
    root = published(store)

    def wanted(index: Index, _: object) -> tuple[Descriptor, ...]:
        return tuple(entry for entry in index.manifests if entry.annotations.get("disktype") not in {"0", "2"})

    pushed = copy(store, "5.0", target, "5.0", CopyOptions(select=wanted))
    assert pushed.root.digest != root.digest
    kept, nested = parsed(target, "5.0").manifests
    assert kept.annotations == {"disktype": "1"}
    assert parsed(target, nested.digest).manifests == ()
    assert target.referrers(kept.digest)


def test_a_copy_of_damage_fails_before_anything_has_a_name(tmp_path):
    with LayoutStore(str(tmp_path / "l"), create=True) as source:
        published(source)
        victim = Descriptor.of("a/b", b"disk 1")
        (tmp_path / "l/blobs/sha256" / victim.digest.hex).write_bytes(b"Disk 1")
        target = MemoryStore()
        with pytest.raises(DigestMismatch):
            copy(source, "5.0", target, "5.0")
        assert not list(target.tags())
        assert not target.has_blob(victim)


def test_a_chain_of_referrers_without_end_is_not_followed(store):
    link = put_manifest(store, empty_config_manifest(()), "start")
    store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
    for number in range(10):
        link = put_manifest(store, empty_config_manifest((), artifact_type=f"x/{number}", subject=link))
    with pytest.raises(ContentError, match="levels deep"):
        copy(store, "start", MemoryStore(), "t")


def test_a_copy_of_one_disk_listed_twice_sends_it_once(store):
    layer = put(store, b"disk")
    disk = put_manifest(store, empty_config_manifest((layer, layer)))
    store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
    put_manifest(store, Index((disk, disk)), "5.0")
    target = MemoryStore()
    assert copy(store, "5.0", target, "5.0").root == store.manifest("5.0").descriptor
    assert target.has_blob(layer)
    assert copy(store, "5.0", target, "5.0").root.digest == target.manifest("5.0").descriptor.digest


def test_a_copy_refuses_an_entry_of_another_size(store):
    disk = put_manifest(store, empty_config_manifest(()))
    store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
    put_manifest(store, Index((replace(disk, size=disk.size + 1),)), "5.0")
    with pytest.raises(SizeMismatch):
        copy(store, "5.0", MemoryStore(), "5.0")

"""What publishers announce, and how it leaves a registry that forgets tags by halves."""

from __future__ import annotations

import pytest

from haulout.content import announcements
from haulout.content.announcements import ANNOUNCEMENT_LIFE_MS, Announcements
from haulout.content.memory import MemoryStore
from haulout.errors import NotFoundError
from haulout.oci import Descriptor, Digest

ENTRY = Descriptor("application/vnd.oci.image.manifest.v1+json", Digest.of(b"x"), 1)


class HalfDeleting(MemoryStore):
    """As docker-registry 2.8: a deletion that meets another leaves the tags, and a second one finds no manifest."""

    def __init__(self, halves: int) -> None:
        super().__init__()
        self.halves = halves

    def delete_manifest(self, digest: Digest, *, refers: bool = True) -> None:
        if not self.halves:
            return super().delete_manifest(digest, refers=refers)
        self.halves -= 1
        del self._manifests[digest]
        raise NotFoundError(f"no manifest {digest}")


@pytest.fixture
def clock(monkeypatch):
    now = [1_700_000_000_000]
    monkeypatch.setattr(announcements, "_now", lambda: now[0])
    return now


def test_an_announcement_is_seen_by_others_and_gone_after_its_deletion():
    store = MemoryStore()
    mine = Announcements(store, "5.0")
    made = mine.announce([ENTRY])
    assert [seen.entries for seen in Announcements(store, "5.0").look()] == [(ENTRY,)]
    assert Announcements(store, "6.0").look() == []
    mine.delete([made])
    assert list(store.tags()) == []


@pytest.mark.parametrize("halves", [1, 2, 3])
def test_a_tag_that_lost_its_manifest_goes_with_another(halves):
    store = HalfDeleting(halves)
    mine = Announcements(store, "5.0")
    mine.delete([mine.announce([ENTRY])])
    assert list(store.tags()) == []


def test_where_it_does_not_go_it_is_left_for_the_next_push(clock):
    store = HalfDeleting(4)
    mine = Announcements(store, "5.0")
    mine.delete([mine.announce([ENTRY])])
    assert len(list(store.tags())) == 1
    young = Announcements(store, "5.0")
    assert young.look() == []
    young.sweep()
    assert len(list(store.tags())) == 1
    clock[0] += ANNOUNCEMENT_LIFE_MS + 1
    later = Announcements(store, "6.0")
    assert later.look() == []
    later.sweep()
    assert list(store.tags()) == []


def test_leftovers_of_killed_publishers_go_and_other_things_under_such_tags_stay(clock):
    store = MemoryStore()
    Announcements(store, "5.0").announce([ENTRY])
    clock[0] += ANNOUNCEMENT_LIFE_MS + 1
    name = next(iter(store.tags()))
    image = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
    foreign = name[:-8] + "deadbeef"
    store.push_manifest(image, "application/vnd.oci.image.index.v1+json", foreign)
    later = Announcements(store, "5.0")
    assert later.look() == []
    later.sweep()
    assert list(store.tags()) == [foreign]

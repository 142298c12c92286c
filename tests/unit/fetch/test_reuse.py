"""Finders of one protocol, asked in turn; the first of them compares digests that earlier pulls noted."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from haulout.fetch.finding import WholeFrames
from haulout.fetch.reuse import SameFrames, _worth_searching, ask
from haulout.frames.pack import pack
from haulout.frames.pieces import Piece
from haulout.progress import NullProgress

MIB = 1 << 20


class Finder:
    """Finds some frames whole, and keeps what it was asked for."""

    def __init__(self, *frames: int) -> None:
        self.frames = frames
        self.asked: list[list[int]] = []

    def find(self, frames):
        self.asked.append(list(frames))
        return WholeFrames({frame: Piece(0, 0, 1) for frame in self.frames}, 1)


class Lacking(Finder):
    def find(self, frames):
        self.asked.append(list(frames))
        return SimpleNamespace(complete=frozenset(), lacking=dict.fromkeys(self.frames, ()))


def test_each_is_asked_for_what_those_before_know_nothing_of():
    finders = [Finder(1, 2), Lacking(4), Finder(), Finder(5)]
    found = list(ask(finders, [1, 2, 3, 4, 5]))
    assert len(found) == 4
    assert [finder.asked for finder in finders] == [[[1, 2, 3, 4, 5]], [[3, 4, 5]], [[3, 5]], [[3, 5]]]


def test_none_is_asked_where_all_is_known():
    finders = [Finder(1, 2), Finder()]
    assert len(list(ask(finders, [1, 2]))) == 1
    assert finders[1].asked == []


class _Sink:
    def write(self, data) -> None:
        pass


def toc_of(path, content: bytes):
    path.write_bytes(content)
    task = NullProgress().task("", None)
    with path.open("rb") as file, pack(file.fileno(), _Sink(), level=1, jobs=1, task=task) as packed:
        return packed.toc


def seed(path, toc, *, named=False):
    return SimpleNamespace(path=path, toc=toc, named=named)


def test_frames_are_found_by_digest_in_the_first_seed_that_has_them(tmp_path):
    one, two = os.urandom(2 * MIB), os.urandom(2 * MIB)
    new = toc_of(tmp_path / "new", one + two)
    first, second = toc_of(tmp_path / "a", one + os.urandom(MIB)), toc_of(tmp_path / "b", one + two)
    seeds = [seed("a", first), seed("x", None), seed("b", second)]
    found = SameFrames(new, seeds).find(new.data_frames)
    assert found.complete == frozenset(new.data_frames)
    assert found.lacking == {}
    shares = found.shares(found.complete)
    assert shares[0] > MIB
    assert shares[1] == 0
    assert sum(shares) == 4 * MIB
    for frame in new.data_frames:
        ((piece,),) = found.pieces([frame])
        data = (tmp_path / str(seeds[piece.seed].path)).read_bytes()[piece.offset : piece.offset + piece.length]
        assert data == (one + two)[new.disk_offsets[frame] :][: new.plain_size(frame)]


@pytest.mark.parametrize("named", [0, 5])
def test_all_named_seeds_are_searched_and_of_the_others_the_three_that_share_most(named):
    seeds = [seed(str(number), None, named=number < named) for number in range(named + 6)]
    whole = {frame: Piece(named + frame, 0, 100 * frame) for frame in range(6)}
    chosen = _worth_searching(seeds, WholeFrames(whole, len(seeds)))
    assert chosen == [*range(named), named + 3, named + 4, named + 5]

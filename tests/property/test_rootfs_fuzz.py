"""Whatever the bytes of a layer: a tree, or one typed refusal; soon."""

from __future__ import annotations

import gzip
import io
import time

import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.support.rootfs import read_all
from tests.unit.rootfs.test_layers import END, bare, tar

from haulout import rootfs
from haulout.errors import InvalidRootfs

SECONDS = 5.0
LIMITS = rootfs.Limits(plain_bytes=64 << 20)
PAX = {"SCHILY.xattr.user.x": "v", "mtime": "1.5", "GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
SEEDS = [
    tar(
        "a", ("d", "dir"), ("d/l", "link", {"linkname": "a"}), ("s", "sym", {"linkname": "d"}), "s/x", "d/.wh..wh..opq"
    ),
    tar("n" * 180, ("x", "file", {"pax_headers": PAX, "data": b"1\n0\n5\n".ljust(517, b"\0")}), "z"),
    tar("n" * 180, ("c", "chr", {"devmajor": 1 << 30}), "z", form=1),
]
HEADERS = st.builds(
    bare,
    st.sampled_from([b"a", b"a/b", b"../x", b".wh.a", b"PaxHeader", b"././@LongLink"]),
    st.sampled_from([bytes([kind]) for kind in b"\x0001234567LKxgXSDMVN"]),
    st.sampled_from([0, 1, 30, 512, 600, 0o77777777777]),
    st.one_of(
        st.binary(max_size=600),
        st.sampled_from([b"30 mtime=1700000000.5\n", b"20 path=../../../x\n", b"25 GNU.sparse.map=0,1,2,3\n", b"11 size=-5\n",
                         b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n", b"17 hdrcharset=\xff\n", b"19 size=9999999999\n", b"9 uid=x\n"]),
    ),
)  # fmt: skip
MUTATIONS = st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 255)), max_size=6)


def judge(data: bytes) -> None:
    begin = time.monotonic()
    said = ""
    try:
        tree = rootfs.from_layers([lambda: io.BytesIO(data)], limits=LIMITS)
        if tree.content_size() < 1 << 26:
            read_all(tree)
    except InvalidRootfs as error:
        said = str(error)
    assert not said or said.isprintable()
    assert len(said) < 1000
    assert time.monotonic() - begin < SECONDS


def reseal(data: bytes) -> bytes:
    """Put right checksums into every block that was a header, so that damage reaches the fields."""
    blocks = bytearray(data)
    for start in range(0, len(blocks) - 511, 512):
        if blocks[start + 257 : start + 262] == b"ustar":
            blocks[start + 148 : start + 156] = b" " * 8
            blocks[start + 148 : start + 156] = b"%06o\0 " % sum(blocks[start : start + 512])
    return bytes(blocks)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.sampled_from(SEEDS), changes=MUTATIONS, cut=st.one_of(st.none(), st.integers(0, 9000)))
def test_changed_layers(seed, changes, cut):
    data = bytearray(seed)
    for at, value in changes:
        data[at % len(data)] = value
    judge(reseal(bytes(data))[:cut])


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(parts=st.lists(HEADERS, max_size=8))
@example(parts=[bare(b"g", b"g", 600, b"".join(b"%d k%03d=v\n" % (9, index) for index in range(60)))])
@example(parts=[bare(b"x", b"x", 24, b"24 SCHILY.xattr.a\xff=\0\xff\n"), bare(b"a")])
def test_made_up_headers(parts):
    judge(b"".join(parts) + END)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.sampled_from(SEEDS), changes=MUTATIONS, pack=st.sampled_from([gzip.compress, zstandard.compress]))
def test_changed_compressed_layers(seed, changes, pack):
    data = bytearray(pack(seed))
    for at, value in changes:
        data[at % len(data)] = value
    judge(bytes(data))


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=3000))
def test_any_bytes(data):
    judge(data)

"""Layers become one tree, by the rules of the OCI image specification; what breaks them is refused by name."""

from __future__ import annotations

import gzip
import io
import itertools
import subprocess
import tarfile
from functools import partial

import pytest
import zstandard
from tests.support.rootfs import got, read_all

from haulout import rootfs
from haulout.errors import InvalidRootfs
from haulout.rootfs import Device, Directory, Fifo, File, Limits, Symlink

KINDS = {"dir": tarfile.DIRTYPE, "link": tarfile.LNKTYPE, "sym": tarfile.SYMTYPE, "chr": tarfile.CHRTYPE,
         "blk": tarfile.BLKTYPE, "fifo": tarfile.FIFOTYPE, "file": tarfile.REGTYPE}  # fmt: skip


def tar(*members, form=tarfile.PAX_FORMAT) -> bytes:
    """Make a layer of (name, kind, attributes) or just names."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for member in members:
            name, kind, attributes = (member, "file", {}) if isinstance(member, str) else (*member, {})[:3]
            info = tarfile.TarInfo(name)
            info.type = KINDS.get(kind, kind)
            data = attributes.pop("data", name.encode("utf-8", "surrogateescape")) if kind == "file" else b""
            info.size = len(data)
            for key, value in attributes.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def merged(*layers: bytes, **options) -> rootfs.Tree:
    return rootfs.from_layers([partial(io.BytesIO, layer) for layer in layers], **options)


def paths(tree) -> list[str]:
    return [path.decode() for path, _ in tree.walk()][1:]


def refused(*layers: bytes, **options) -> InvalidRootfs:
    with pytest.raises(InvalidRootfs) as caught:
        merged(*layers, **options)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).isprintable()
    return caught.value


def test_a_whiteout_hides_what_lower_layers_brought():
    assert paths(merged(tar("a/x", "a/y", "b"), tar("a/.wh.x", ".wh.b"))) == ["a", "a/y"]


@pytest.mark.parametrize("order", [("a", ".wh.a"), (".wh.a", "a")])
def test_a_whiteout_spares_its_own_layer_in_either_order(order):
    tree = merged(tar("a", "b"), tar(*order))
    assert paths(tree) == ["a", "b"]


@pytest.mark.parametrize("order", [("d/new", "d/.wh..wh..opq"), ("d/.wh..wh..opq", "d/new")])
def test_an_opaque_directory_hides_lower_content_only(order):
    assert paths(merged(tar("d/old", "d/sub/old", "e"), tar(*order, "d/sub/new"))) == [
        "d",
        "d/new",
        "d/sub",
        "d/sub/new",
        "e",
    ]


def test_a_whiteout_of_a_directory_added_to_before_keeps_what_was_added():
    assert paths(merged(tar("d/old"), tar("d/new", ".wh.d"))) == ["d", "d/new"]


def test_looking_up_a_hard_links_target_claims_nothing():
    tree = merged(tar("d/old", "d/kept"), tar(("l", "link", {"linkname": "d/old"}), ".wh.d"))
    assert paths(tree) == ["l"]


def test_whiteouts_of_nothing_and_the_books_of_aufs_are_passed_over():
    assert paths(merged(tar(".wh.none", "no/.wh.none", "no/.wh..wh..opq", ".wh..wh.plnk/1.2", "a"))) == ["a"]


def test_a_file_replaces_a_directory_and_a_directory_a_file():
    tree = merged(tar("a/x", "b"), tar("a", ("b", "dir")), tar("b/y"))
    assert paths(tree) == ["a", "b", "b/y"]
    assert isinstance(got(tree, "a"), File)


def test_a_directory_over_a_directory_keeps_what_is_in_it():
    tree = merged(tar("d/x"), tar(("d", "dir", {"mode": 0o1777, "uid": 7})))
    directory = got(tree, "d")
    assert paths(tree) == ["d", "d/x"]
    assert (directory.mode, directory.uid) == (0o1777, 7)


def test_the_root_takes_attributes():
    root = merged(tar(("./", "dir", {"mode": 0o700, "gid": 5}))).root
    assert (root.mode, root.gid) == (0o700, 5)


def test_hard_links_stay_with_their_file_when_a_later_layer_replaces_one_name():
    tree = merged(tar("a"), tar(("b", "link", {"linkname": "./a"})), tar(("a", "file", {"data": b"new"})))
    contents = read_all(tree)
    assert contents[got(tree, "b")] == b"a"
    assert contents[got(tree, "a")] == b"new"
    again = merged(tar("a", ("b", "link", {"linkname": "/a"})))
    assert got(again, "a") is got(again, "b")


def test_parents_that_are_symlinks_are_followed_inside_the_tree():
    base = tar(("usr/lib", "dir"), ("lib", "sym", {"linkname": "usr/lib"}), ("abs", "sym", {"linkname": "/usr"}),
               ("up", "sym", {"linkname": "../../../usr/./lib"}))  # fmt: skip
    tree = merged(base, tar("lib/one", "abs/lib/two", "up/three"))
    assert [path for path in paths(tree) if path.startswith("usr/")] == [
        "usr/lib",
        "usr/lib/one",
        "usr/lib/three",
        "usr/lib/two",
    ]
    assert isinstance(got(tree, "lib"), Symlink)
    assert got(tree, "/lib/one") is got(tree, "usr/lib/one")


def test_a_directory_entry_replaces_a_symlink():
    tree = merged(tar(("usr/lib", "dir"), ("lib", "sym", {"linkname": "usr/lib"})), tar(("lib", "dir"), "lib/x"))
    assert paths(tree) == ["lib", "lib/x", "usr", "usr/lib"]


def test_every_kind_and_attribute_arrives():
    xattr = {
        "SCHILY.xattr.security.capability": b"\x01\0\xff=\n".decode("utf-8", "surrogateescape"),
        "mtime": "1700000000.123456789",
    }
    tree = merged(
        tar(
            ("f", "file", {"mode": 0o4755, "uid": 10**7, "gid": 4_000_000_000, "pax_headers": xattr}),
            ("c", "chr", {"devmajor": 5, "devminor": 300}), ("b", "blk", {"devmajor": 8, "devminor": 1}), ("p", "fifo"),
            ("s", "sym", {"linkname": "/../../etc/shadow"}),
        )
    )  # fmt: skip
    file = got(tree, "f")
    assert (file.mode, file.uid, file.gid, file.mtime) == (0o4755, 10**7, 4_000_000_000, 1_700_000_000_123_456_789)
    assert file.xattrs == {b"security.capability": b"\x01\0\xff=\n"}
    device = got(tree, "c")
    assert isinstance(device, Device)
    assert (device.is_block, device.major, device.minor) == (False, 5, 300)
    assert isinstance(got(tree, "p"), Fifo)
    assert got(tree, "s").target == b"/../../etc/shadow"


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_and_strange_names(form):
    names = ["d/" * 60 + "x" * 200, "\udcff\n", "ü"]
    tree = merged(tar(*names, form=form))
    assert all(isinstance(got(tree, name), File) for name in names)


def test_a_layer_may_lie_inside_a_file_or_come_from_a_pipe(tmp_path):
    layer = tar("a", "b")
    (tmp_path / "file").write_bytes(b"before" + layer)

    def inside():
        file = (tmp_path / "file").open("rb")
        file.seek(6)
        return file

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    for opener in (inside, partial(Pipe, layer)):
        tree = rootfs.from_layers([opener])
        assert read_all(tree) == {got(tree, "a"): b"a", got(tree, "b"): b"b"}


@pytest.mark.parametrize(
    "pack",
    [bytes, gzip.compress, zstandard.compress, lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:])],
)
def test_compressions(pack):
    tree = merged(pack(tar("a", ("b", "file", {"data": bytes(5) + b"end"}))))
    assert read_all(tree)[got(tree, "b")] == bytes(5) + b"end"


@pytest.mark.parametrize(
    "form",
    [
        ["--format=gnu"],
        ["--format=pax", "--sparse-version=0.0"],
        ["--format=pax", "--sparse-version=0.1"],
        ["--format=pax", "--sparse-version=1.0"],
    ],
)
def test_sparse_members_of_gnu_tar_are_read_right(tmp_path, form):
    with (tmp_path / "sparse").open("wb") as file:
        for index in range(40):
            file.seek(index * 65536)
            file.write(b"piece%d" % index)
        file.truncate(5 << 20)
    (tmp_path / "after").write_text("after")
    layer = subprocess.run(
        ["tar", "-C", tmp_path, "-S", *form, "-c", "sparse", "after"], capture_output=True, check=True
    ).stdout
    tree = merged(layer)
    assert read_all(tree) == {got(tree, "sparse"): (tmp_path / "sparse").read_bytes(), got(tree, "after"): b"after"}
    assert sum(size for _, size in got(tree, "sparse").stored) < 1 << 20


@pytest.mark.parametrize(
    ("members", "rule"),
    [
        (["../x"], "escape"), (["a/../../x"], "escape"), (["/../x"], "escape"),
        ([("l", "link", {"linkname": "../x"})], "escape"), ([("l", "link", {"linkname": "gone"})], "hardlink"),
        ([("d", "dir"), ("l", "link", {"linkname": "d"})], "hardlink"),
        (["x" * 256], "name"), (["y/" * 2048 + "y"], "name"), ([("n", "file", {"pax_headers": {"path": "a\0b"}})], "name"),
        (["f", "f/x"], "parent"), ([("s", "sym", {"linkname": "gone"}), "s/x"], "parent"),
        ([("s", "sym", {"linkname": "s"}), "s/x"], "parent"), ([("s", "sym", {"linkname": ""})], "symlink"),
        ([".wh."], "whiteout"), ([".wh..."], "whiteout"), ([".wh.a/b"], "whiteout"), ([("v", b"V")], "kind"), ([("m", b"M")], "kind"),
        (["."], "kind"), ([("u", "file", {"pax_headers": {"uid": "-5"}})], "attributes"),
        ([("u", "file", {"pax_headers": {"gid": str(1 << 32)}})], "attributes"),
        ([("u", "file", {"pax_headers": {"mtime": "nan"}})], "attributes"),
        ([("u", "file", {"pax_headers": {"SCHILY.xattr.": "x"}})], "attributes"),
    ],
)  # fmt: skip
def test_entries_refused_by_name(members, rule):
    error = refused(tar("good"), tar(*members))
    assert (error.source, error.rule) == ("layer 2", rule)
    assert error.entry


def bare(name: bytes, kind: bytes = b"0", size: int = 0, body: bytes = b"") -> bytes:
    """Make a header by hand, with a right checksum."""
    header = bytearray(512)
    header[: len(name)] = name
    header[100:108] = b"0000644\0"
    header[124:136] = b"%011o\0" % size
    header[156:157] = kind
    header[257:265] = b"ustar\x0000"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + body.ljust(-(-len(body) // 512) * 512, b"\0")


END = bytes(1024)


@pytest.mark.parametrize(
    ("layer", "rule"),
    [
        (b"", "truncated"), (bare(b"a"), "truncated"), (bare(b"a", size=600, body=b"x"), "truncated"),
        (bare(b"a") + b"garbage".ljust(512) + END, "damaged"), (b"not a tar at all".ljust(512), "damaged"),
        (bare(b"a") + bytes(512) + bare(b"b") + END, "damaged"), (tar("a")[:700], "truncated"),
        (bare(b"l", b"L", 1 << 33), "bomb"), (bare(b"x", b"x", 1 << 33), "bomb"),
        (bare(b"x", b"x", 1 << 17, b"9" * (1 << 17)), "damaged"),
        (b"".join(bare(b"l", b"L", 1, b"n") for _ in range(3000)) + bare(b"a") + END, "damaged"),
        (gzip.compress(tar("a"))[:-9], "damaged"), (gzip.compress(tar("a")) + b"junk", "damaged"),
        (gzip.compress(tar("a"))[:-8] + bytes(8), "damaged"), (zstandard.compress(tar("a"))[:-4], "damaged"),
        (b"BZh91AY&SY", "compression"), (b"\x04\x22\x4d\x18", "compression"), (b"\xfd7zXZ\0\0\0", "compression"),
    ],
    # Not their bytes: gzip writes the time.
    ids=itertools.count(),
)  # fmt: skip
def test_damaged_layers_are_refused(layer, rule):
    error = refused(tar("good"), layer)
    assert (error.source, error.rule) == ("layer 2", rule)


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (b"", "is empty"),
        (gzip.compress(b""), "is empty"),
        (bare(b"b"), "has no end-of-archive marker"),
        (gzip.compress(bare(b"b")), "has no end-of-archive marker"),
        (tar("b", ".wh..wh.plnk", (".wh..wh.orph", "dir"), ".wh..wh.orph/x"), "has leftovers of aufs"),
        (tar("b"), None),
        (tar("b", ".wh..wh..opq"), None),
        (bare(b"b") + bytes(512), None),
        (END, None),
    ],
    ids=itertools.count(),
)
def test_odd_layers_are_taken_as_other_engines_take_them(layer, told):
    notes: list[str] = []
    tree = rootfs.from_layers(
        [lambda: io.BytesIO(tar("a")), lambda: io.BytesIO(layer)], strict=False, note=notes.append
    )
    opaque = b".wh..wh..opq" in layer
    assert {path for path, _ in tree.walk()} - {b"b"} == ({b""} if opaque else {b"", b"a"})
    assert [note.startswith(f"layer 2 {told}") for note in notes] == ([] if told is None else [True])


def test_absolute_names_mean_the_root_of_the_tree():
    assert paths(merged(tar(("/etc", "dir"), "/etc/passwd", ("/l", "link", {"linkname": "/etc/passwd"})))) == [
        "etc",
        "etc/passwd",
        "l",
    ]


@pytest.mark.parametrize("pieces", [1, 2, 3, 4, 5])
def test_unused_slots_of_a_gnu_sparse_map_are_skipped(tmp_path, pieces):
    with (tmp_path / "s").open("wb") as file:
        for number in range(pieces):
            file.seek(number << 17)
            file.write(b"AAAA")
        file.truncate(pieces << 17)
    layer = subprocess.run(
        ["tar", "-C", tmp_path, "-S", "--format=gnu", "-c", "s"], capture_output=True, check=True
    ).stdout
    tree = merged(layer)
    assert read_all(tree) == {got(tree, "s"): (tmp_path / "s").read_bytes()}


@pytest.mark.parametrize("layer", [b"", bare(b"a"), bare(b"a") + bytes(512), tar("a")])
def test_an_end_mark_may_be_missing_where_that_is_said(layer):
    tree = rootfs.from_layers([lambda: io.BytesIO(layer)], strict=False)
    assert paths(tree) == (["a"] if layer else [])


@pytest.mark.parametrize(
    ("path", "found"),
    [("a/f", True), ("abs/f", True), ("rel/f", True), ("b/up", True), ("loop", False), ("out", True), ("gone", False)],
)
def test_a_path_is_followed_as_a_program_in_the_tree_sees_it(path, found):
    links = {"abs": "/a", "rel": "./a", "b/up": "../rel/f", "loop": "loop", "out": "../../a/f", "gone": "a/none"}
    tree = merged(tar("a/f", *((name, "sym", {"linkname": target}) for name, target in links.items())))
    assert (tree.follow(path.encode()) is tree.find("a/f")) is found


def test_limits():
    many = tar(*(f"f{index}" for index in range(20)))
    assert refused(many, limits=Limits(entries=19)).rule == "bomb"
    assert refused(many, many, limits=Limits(plain_bytes=len(many) + 5000)).source == "layer 2"
    assert refused(many, many, limits=Limits(layers=1)).rule == "bomb"
    zeros = tar(("z", "file", {"data": bytes(4 << 20)}))
    for pack in (gzip.compress, zstandard.compress):
        assert refused(pack(zeros), limits=Limits(ratio_from=1 << 20)).rule == "bomb"
        assert paths(merged(pack(zeros))) == ["z"]
    heavy = {"SCHILY.xattr.user.x": "v" * 70000}
    assert refused(tar(("x", "file", {"pax_headers": heavy})), limits=Limits(header_bytes=65536)).rule == "bomb"


def test_a_layer_that_changes_between_the_passes_is_told():
    opened = []

    def opener():
        opened.append(1)
        return io.BytesIO(tar(("a", "file", {"data": b"x" * 5000}))[: None if len(opened) == 1 else 2000])

    tree = rootfs.from_layers([opener])
    with pytest.raises(InvalidRootfs) as caught:
        read_all(tree)
    assert (caught.value.source, caught.value.rule) == ("layer 1", "truncated")


def test_files_added_by_hand_leave_the_tree_they_were_added_to():
    tree = merged(tar(("usr/etc", "dir"), ("etc", "sym", {"linkname": "usr/etc"}), "f"))
    more = tree.with_file("/etc/conf.d/x", b"hello", mode=0o600, uid=3).with_file("f", b"other")
    assert paths(tree) == ["etc", "f", "usr", "usr/etc"]
    assert paths(more) == ["etc", "f", "usr", "usr/etc", "usr/etc/conf.d", "usr/etc/conf.d/x"]
    assert read_all(more) == {got(more, "etc/conf.d/x"): b"hello", got(more, "f"): b"other"}
    assert read_all(tree)[got(tree, "f")] == b"f"
    for path in ("usr", "f/x", "a/../b", ""):
        with pytest.raises(InvalidRootfs):
            tree.with_file(path, b"")


def test_content_size_counts_each_file_once():
    assert (
        merged(tar(("a", "file", {"data": b"12345"}), ("b", "link", {"linkname": "a"}), ("d", "dir"))).content_size()
        == 5
    )
    assert isinstance(got(merged(tar("d/x")), "d"), Directory)

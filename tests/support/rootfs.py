"""Trees to order, their images judged by e2fsck, and read back by debugfs or by the kernel."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from hypothesis import strategies as st

from haulout import rootfs
from haulout.rootfs.tree import Held
from haulout.workload import ext4

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ID = UUID("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0")
NOW = 1_700_000_000


class Builder:
    """Makes nodes whose files are held in memory."""

    def __init__(self) -> None:
        self.files: list[bytes] = []

    def file(self, data: bytes, **attributes) -> rootfs.File:
        self.files.append(data)
        size = attributes.pop("size", len(data))
        return rootfs.File(size=size, source=0, offset=len(self.files) - 1, **({"mode": 0o644} | attributes))

    def tree(self, root: rootfs.Directory) -> rootfs.Tree:
        return rootfs.Tree(root, (Held(tuple(self.files)),))


def got(tree: rootfs.Tree, path: str) -> Any:
    """Return what is at a path, as whatever the test takes it for."""
    node = tree.find(path)
    assert node is not None
    return node


def image_of(tree: rootfs.Tree, size: int | None = None) -> bytes:
    plan = ext4.plan(tree, size=size, uuid=ID, now=NOW)
    image = b"".join(ext4.stream(plan))
    assert len(image) == plan.size
    return image


def write_image(tree: rootfs.Tree, path: Path, size: int | None = None) -> ext4.Plan:
    plan = ext4.plan(tree, size=size, uuid=ID, now=NOW)
    with path.open("wb") as file:
        for chunk in ext4.stream(plan):
            file.write(chunk)
        assert file.tell() == plan.size
    return plan


def fsck(path: Path) -> None:
    """Fail unless e2fsck finds nothing to say."""
    done = subprocess.run(["e2fsck", "-fn", path], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert [line[:6] for line in lines[:-1]] == ["Pass 1", "Pass 2", "Pass 3", "Pass 4", "Pass 5"], done.stdout


def debugfs(path: Path, *commands: str) -> list[str]:
    """Run commands; returns what each prints."""
    script = "\n".join(commands)
    done = subprocess.run(
        ["debugfs", "-f", "/dev/stdin", path],
        input=script,
        capture_output=True,
        text=True,
        check=True,
        errors="replace",
    )
    return [
        part.split("\n", 1)[1] if "\n" in part else ""
        for part in re.split(r"^debugfs: ", done.stdout, flags=re.MULTILINE)[1:]
    ]


def debugfs_bytes(path: Path, name: str) -> bytes:
    done = subprocess.run(["debugfs", "-R", f"cat {shlex.quote(name)}", path], capture_output=True, check=True)
    return done.stdout


@contextmanager
def mounted(image: Path, place: Path, *options: str) -> Iterator[Path]:
    """Mount an image; only where ``can_mount`` says so."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "ext4", "-o", ",".join(("loop", *options)), image, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def can_mount(folder: Path) -> str | None:
    """Say why no image can be mounted here, or None."""
    if os.geteuid():
        return "mounting takes root"
    image = folder / "try.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", image, "2M"], check=True)
    place = folder / "try"
    place.mkdir()
    done = subprocess.run(["mount", "-o", "loop", image, place], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"no loop mount: {done.stderr.strip()}"
    subprocess.run(["umount", place], check=True)
    return None


def flat(tree: rootfs.Tree, *, lost: bool = False) -> dict[bytes, tuple[object, ...]]:
    """Return everything there is to know of a tree, by path; names of one file share the first of them."""
    first: dict[rootfs.Node, bytes] = {}
    result: dict[bytes, tuple[object, ...]] = {}
    contents = read_all(tree)
    for path, node in tree.walk():
        if path == b"lost+found" and not lost:
            continue
        first.setdefault(node, path)
        kind = type(node).__name__
        special: object = None
        if isinstance(node, rootfs.File):
            special = contents[node]
        elif isinstance(node, rootfs.Symlink):
            special = node.target
        elif isinstance(node, rootfs.Device):
            special = (node.is_block, node.major, node.minor)
        mode = node.mode if not isinstance(node, rootfs.Symlink) else 0o777
        result[path] = (kind, mode, node.uid, node.gid, node.mtime, dict(node.xattrs), special, first[node])
    return result


def read_all(tree: rootfs.Tree) -> dict[rootfs.Node, bytes]:
    files = {id(node): node for _, node in tree.walk() if isinstance(node, rootfs.File)}
    contents: dict[rootfs.Node, bytes] = {}
    with tree.reading() as reader:
        for file in sorted(files.values(), key=lambda file: (file.source, file.offset)):
            data = bytearray(file.size)
            reader.begin(file)
            for offset, size in file.stored:
                reader.fill(memoryview(data)[offset : offset + size])
            contents[file] = bytes(data)
    return contents


NAMES = (
    st.one_of(
        st.binary(min_size=1, max_size=12),
        st.binary(min_size=200, max_size=255),
        st.sampled_from([b"a", b"b", b"lost", b"\xff\n"]),
    )
    .map(lambda name: name.replace(b"/", b"_").replace(b"\0", b"0"))
    .filter(lambda name: name not in {b".", b"..", b"lost+found"})
)
IDS = st.sampled_from([0, 1, 65535, 65536, 1000, (1 << 32) - 2])
TIMES = st.one_of(st.integers(-(2**31) * 10**9, (2**34 - 2**31 - 1) * 10**9), st.just(0))
ACL = b"\2\0\0\0" + b"".join(
    tag.to_bytes(2, "little") + perm.to_bytes(2, "little") + who.to_bytes(4, "little")
    for tag, perm, who in (
        (1, 7, 2**32 - 1),
        (2, 5, 1000),
        (4, 5, 2**32 - 1),
        (0x10, 5, 2**32 - 1),
        (0x20, 5, 2**32 - 1),
    )
)
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")[:20]
XATTRS = st.dictionaries(
    st.sampled_from(
        [b"user.a", b"user.longer.name", b"security.capability", b"trusted.t", b"user." + b"n" * 200, b"user.e"]
    ),
    st.one_of(st.binary(max_size=10), st.binary(min_size=300, max_size=600)),
    max_size=4,
).map(lambda them: {k: CAPABILITY if k == b"security.capability" else v for k, v in them.items()})
EXEC = st.fixed_dictionaries({"mode": st.integers(0, 0o7777), "uid": IDS, "gid": IDS, "mtime": TIMES})


@st.composite
def trees(draw) -> rootfs.Tree:
    builder = Builder()
    root = rootfs.Directory(**draw(EXEC))
    holders = [root]
    linkable: list[rootfs.Node] = []
    for _ in range(draw(st.integers(0, 25))):
        holder = draw(st.sampled_from(holders))
        name = draw(NAMES)
        if name in holder.children:
            continue
        kind = draw(st.sampled_from("ddfffslhcpk"))
        attributes = draw(EXEC)
        if kind in "df":
            attributes["xattrs"] = draw(XATTRS)
        node: rootfs.Node
        if kind == "d":
            node = rootfs.Directory(**attributes)
            holders.append(node)
        elif kind == "f":
            size = draw(st.sampled_from([0, 1, 4095, 4096, 4097, 70000]))
            node = builder.file(
                draw(st.binary(min_size=1, max_size=4)) * (size // 1) if size < 2 else bytes([size % 251 + 1]) * size,
                **attributes,
            )
        elif kind == "s":
            cuts = sorted(draw(st.lists(st.integers(0, 300_000), min_size=2, max_size=8, unique=True)))
            segments = tuple((a, b - a) for a, b in zip(cuts[::2], cuts[1::2], strict=False))
            total = sum(size for _, size in segments)
            size = cuts[-1] + draw(st.integers(0, 20000))
            node = builder.file(b"\x5a" * total, size=size, segments=segments, **attributes)
        elif kind == "l":
            node = rootfs.Symlink(
                target=draw(st.sampled_from([b"x", b"y" * 59, b"z" * 60, b"/w" * 2047])),
                **(attributes | {"mode": 0o777}),
            )
        elif kind == "h" and linkable:
            node = draw(st.sampled_from(linkable))
        elif kind == "c":
            major, minor = draw(st.sampled_from([(1, 3), (255, 255), (256, 1), (8, 300000), (4095, (1 << 20) - 1)]))
            node = rootfs.Device(is_block=draw(st.booleans()), major=major, minor=minor, **attributes)
        elif kind == "p":
            node = rootfs.Fifo(**attributes)
        else:
            node = rootfs.Socket(**attributes)
        if kind not in "dh":
            linkable.append(node)
        holder.children[name] = node
    return builder.tree(root)

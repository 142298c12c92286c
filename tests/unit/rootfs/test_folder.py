"""A folder as a tree: all kinds, holes, names of any bytes; changes between the passes are told."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.rootfs import got, read_all

from haulout import rootfs
from haulout.errors import InvalidRootfs, StorageError


def test_all_kinds_arrive_and_symlinks_stay_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir(mode=0o750)
    (tmp_path / "d/f").write_bytes(b"data")
    (tmp_path / "name").hardlink_to("d/f")
    (tmp_path / "out").symlink_to("/etc/passwd")
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("sock")
    os.close(os.open(b"\xff\n", os.O_CREAT | os.O_WRONLY))
    os.utime("d/f", ns=(5, 1_234_567_890_123))
    os.setxattr("d/f", "user.note", b"\0x")
    tree = rootfs.from_folder(tmp_path, owner=(5, 6))
    kinds = {path: type(node).__name__ for path, node in tree.walk()}
    assert kinds == {
        b"": "Directory",
        b"d": "Directory",
        b"d/f": "File",
        b"name": "File",
        b"out": "Symlink",
        b"pipe": "Fifo",
        b"sock": "Socket",
        b"\xff\n": "File",
    }
    file = got(tree, "d/f")
    assert file is got(tree, "name")
    assert (file.mtime, file.uid, file.gid, file.xattrs) == (1_234_567_890_123, 5, 6, {b"user.note": b"\0x"})
    assert got(tree, "out").target == b"/etc/passwd"
    assert read_all(tree)[file] == b"data"


def test_holes_are_kept(tmp_path):
    with (tmp_path / "sparse").open("wb") as file:
        file.seek(3 << 20)
        file.write(b"x" * 5000)
        file.truncate(9 << 20)
    tree = rootfs.from_folder(tmp_path)
    file = got(tree, "sparse")
    assert sum(size for _, size in file.stored) < 1 << 20
    assert read_all(tree)[file] == (tmp_path / "sparse").read_bytes()


@pytest.mark.parametrize("change", ["grow", "shrink", "replace", "symlink", "gone"])
def test_a_file_changed_between_the_passes_is_told(tmp_path, change):
    path = tmp_path / "root/file"
    path.parent.mkdir()
    path.write_bytes(b"0123456789")
    tree = rootfs.from_folder(path.parent)
    if change in {"grow", "shrink"}:
        os.truncate(path, 20 if change == "grow" else 5)
    elif change == "replace":
        (tmp_path / "other").write_bytes(b"0123456789")
        (tmp_path / "other").replace(path)
    else:
        path.unlink()
        if change == "symlink":
            path.symlink_to("/etc/passwd")
    with pytest.raises((InvalidRootfs, StorageError)) as caught:
        read_all(tree)
    assert "file" in str(caught.value)


@pytest.mark.parametrize("change", ["grow", "rewrite"])
def test_a_file_changed_while_it_is_read_is_told(tmp_path, change):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    os.utime(path, ns=(5, 5))
    tree = rootfs.from_folder(tmp_path)

    def read_and_change():
        with tree.reading() as reader:
            reader.begin(got(tree, "file"))
            reader.fill(memoryview(bytearray(5)))
            with path.open("r+b") as stream:
                stream.seek(0 if change == "rewrite" else 10)
                stream.write(b"9876543210")
            reader.fill(memoryview(bytearray(5)))

    with pytest.raises(InvalidRootfs, match=r"file.*changed while it was read"):
        read_and_change()


def test_what_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "gone"):
        with pytest.raises(StorageError):
            rootfs.from_folder(path)
    (tmp_path / "more").write_bytes(b"")
    with pytest.raises(InvalidRootfs):
        rootfs.from_folder(tmp_path, limits=rootfs.Limits(entries=1))


@pytest.fixture
def before(monkeypatch):
    """Let something happen once, right before the system is asked for a name, however it is asked."""

    def arrange(name, action):
        left = [action]

        def hook(real):
            def hooked(path, *rest, **more):
                if left and isinstance(path, bytes) and path.split(b"/")[-1] == name:
                    left.pop()()
                return real(path, *rest, **more)

            return hooked

        for call in ("open", "stat", "lstat"):
            monkeypatch.setattr(os, call, hook(getattr(os, call)))

    return arrange


@pytest.fixture
def trap(tmp_path):
    """A folder with ``a/b/shadow``, and next to it ``etc``, which has the same names and is none of its owner's."""
    for place, data in (("root/a/b", b"decoy"), ("etc/b", b"secret"), ("etc", b"secret")):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "shadow").write_bytes(data)
        (tmp_path / place / "shadow").chmod(0o644 if data == b"decoy" else 0o600)
    return tmp_path


def swap(place, target):
    place.rename(place.with_name("aside"))
    place.symlink_to(target)


@pytest.mark.parametrize(("swapped", "target"), [("root/a/b", "../../etc"), ("root/a", "../etc")])
def test_a_folder_swapped_for_a_symlink_while_it_is_listed_leads_nowhere(trap, before, swapped, target):
    before(b"shadow", lambda: swap(trap / swapped, target))
    with pytest.raises(InvalidRootfs, match="it was replaced while it was read") as caught:
        read_all(rootfs.from_folder(trap / "root"))
    assert (trap / swapped).is_symlink()
    assert (caught.value.rule, caught.value.entry) == ("changed", os.path.relpath(trap / swapped, trap / "root"))


def test_what_is_noted_of_a_file_is_not_that_of_another_in_its_place(trap, before):
    before(b"shadow", lambda: swap(trap / "root/a/b", "../../etc"))
    node = got(rootfs.from_folder(trap / "root"), "a/b/shadow")
    assert (node.mode, node.size) == (0o644, 5)


@pytest.mark.parametrize("when", ["between", "reading"])
@pytest.mark.parametrize("target", ["../etc", "aside"])
def test_a_folder_swapped_for_a_symlink_once_it_is_listed_is_told(trap, before, when, target):
    # Behind "aside" are the very files that were listed.
    tree = rootfs.from_folder(trap / "root")
    if when == "between":
        swap(trap / "root/a", target)
    else:
        before(b"a", lambda: swap(trap / "root/a", target))
    with pytest.raises(InvalidRootfs, match="a: it was replaced while it was read"):
        read_all(tree)


def test_the_folder_itself_replaced_between_the_passes_is_told(trap):
    tree = rootfs.from_folder(trap / "root/a/b")
    (trap / "root").rename(trap / "aside")
    (trap / "etc").rename(trap / "root")
    (trap / "root/a").symlink_to(".")
    with pytest.raises(InvalidRootfs, match="it was replaced while it was read"):
        read_all(tree)


def test_the_folder_itself_may_be_a_symlink(trap):
    (trap / "link").symlink_to("root")
    tree = rootfs.from_folder(trap / "link")
    assert read_all(tree)[got(tree, "a/b/shadow")] == b"decoy"


def open_files():
    return [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]


def test_a_folder_as_deep_as_paths_may_be_takes_few_descriptors_and_no_recursion(tmp_path):
    # Whole paths of it would be longer than the system takes. Each level has a file before and one behind its folder.
    depth = 2040
    at = os.open(tmp_path, os.O_RDONLY)
    for level in range(depth):
        os.mkdir("d", dir_fd=at)
        down = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = down
        for name in ("a", "e") if level % 7 == 0 else ():
            with open(name, "w", opener=lambda *how, at=at: os.open(*how, dir_fd=at)) as file:
                file.write(f"{level}{name}")
        if level % 7 == 0:
            os.mkdir("c", dir_fd=at)
            os.close(os.open("c/f", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_files()) + 40, limits[1]))
    before = open_files()
    try:
        tree = rootfs.from_folder(tmp_path)
        contents = read_all(tree)
        assert open_files() == before
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)
    assert max(path.count(b"/") for path, _ in tree.walk()) >= depth - 1
    files = {path: contents[node] for path, node in tree.walk() if isinstance(node, rootfs.File)}
    assert len(files) == 3 * len(range(0, depth, 7))
    for path, data in files.items():
        level, name = path.count(b"/") - 1, path.decode()[-1]
        assert data == ("" if name == "f" else f"{level}{name}").encode()


def test_attributes_are_those_of_the_thing_itself(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    for name in ("d", "file"):
        os.setxattr(tmp_path / name, "user.note", name.encode())
    with suppress(PermissionError):  # links and pipes have only what root gives them
        for name in ("link", "pipe"):
            os.setxattr(tmp_path / name, "trusted.note", name.encode(), follow_symlinks=False)
    tree = rootfs.from_folder(tmp_path)
    privileged = b"trusted.note" in got(tree, "pipe").xattrs
    for name in ("d", "file"):
        assert got(tree, name).xattrs == {b"user.note": name.encode()}
    for name in ("link", "pipe"):
        assert got(tree, name).xattrs == ({b"trusted.note": name.encode()} if privileged else {})


def test_what_is_gone_once_it_is_listed_is_named_by_its_whole_path(trap, before):
    before(b"shadow", (trap / "root/a/b/shadow").unlink)
    with pytest.raises(StorageError, match="root/a/b/shadow: "):
        rootfs.from_folder(trap / "root")

"""A folder as a tree: all kinds, holes, names of any bytes; changes between the passes are told."""

from __future__ import annotations

import os
import socket

import pytest
from tests.rootfs_kit import got, read_all

from haulout.confidential.image import rootfs
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

"""virtiofsd: which of the two there is, what it can do, and how it is told."""

from __future__ import annotations

import asyncio

import pytest

from haulout.errors import ToolError
from haulout.machine import Mount
from haulout.machine.qemu import virtiofsd

RUST = "--shared-dir <SHARED_DIR> --readonly --translate-uid <TRANSLATE_UID>"
C = "-o source=PATH"


def test_a_user_is_the_guests_core_and_may_do_all():
    safest, other = virtiofsd.commands("virtiofsd", RUST, Mount("/a b", "/a"), 7, 1234, 100)
    assert safest[:5] == ["virtiofsd", "--shared-dir", "/a b", "--fd", "7"]
    assert [word for word in safest if ":" in word] == [
        *("squash-guest:0:1234:4294967295", "host:1234:1000:1"),
        *("squash-guest:0:100:4294967295", "host:100:1000:1"),
    ]
    assert (safest[-1], other[-1]) == ("namespace", "none")


def test_root_shares_as_it_is():
    lines = virtiofsd.commands("virtiofsd", RUST, Mount("/a", "/a", read_only=True), 7, 0, 0)
    assert all("--readonly" in line and not any("translate" in word for word in line) for line in lines)
    assert [line[-1] for line in lines] == ["namespace", "chroot"]


def test_what_is_too_old_to_protect_a_mount_is_refused():
    with pytest.raises(ToolError, match="too old to share read-only"):
        virtiofsd.commands("virtiofsd", "--shared-dir", Mount("/a", "/a", read_only=True), 7, 1234, 100)


def test_the_old_one_gets_a_namespace_and_its_options_hold_any_path():
    ((*line,),) = virtiofsd.commands("/usr/lib/qemu/virtiofsd", C, Mount("/a,b\\c", "/a"), 7, 1234, 100)
    assert line[:5] == ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--keep-caps"]
    assert "source=/a\\,b\\\\c" in line
    ((*line,),) = virtiofsd.commands("/usr/lib/qemu/virtiofsd", C, Mount("/a", "/a", read_only=True), 7, 0, 0)
    assert line[:5] == ["unshare", "--mount", "sh", "-c", 'mount --bind -o ro "$0" "$0" && exec "$@"']


def test_none_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(virtiofsd, "PLACES", ())
    with pytest.raises(ToolError, match="virtiofsd: is not installed") as caught:
        virtiofsd.find()
    assert "virtiofsd" in str(caught.value.hint)


def test_the_next_sandbox_is_tried_and_the_last_failure_told(tmp_path, monkeypatch):
    program = tmp_path / "virtiofsd"
    program.write_text(
        '#!/bin/sh\ncase "$*" in --help) echo --shared-dir ;; *namespace) echo no namespaces; exit 1 ;;\n'
        "*) echo Waiting for vhost-user socket connection...; exec sleep 30 ;; esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    mount = Mount(str(tmp_path), "/a")

    async def shared():
        process = await virtiofsd.share(mount, tmp_path / "fs.sock", tmp_path / "log")
        process.kill()
        await process.wait()

    asyncio.run(shared())
    program.write_text("#!/bin/sh\necho it is '\033'broken >&2; exit 1\n")
    with pytest.raises(ToolError, match=r"cannot share .*: it is .*broken"):
        asyncio.run(shared())

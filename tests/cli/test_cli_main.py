"""What a person meets when something is wrong: one line, a way out, an exit code; never a traceback."""

from __future__ import annotations

import ast
import base64
import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from tests.support.sandbox import ROOT, Sandbox, raw_disk, sandbox
from tests.support.servers import docker_registry, free_port, needs

import haulout
from haulout import errors
from haulout.cli import main as cli
from haulout.cli.main import BUG, Terminated, explain, main

HEX = "a" * 64


def every_error() -> list[type[errors.HauloutError]]:
    found, pending = [], [errors.HauloutError]
    while pending:
        kind = pending.pop()
        # A room may tell its own kinds apart; they end as what they are kinds of.
        if kind.__module__ == errors.__name__:
            found.append(kind)
        pending += kind.__subclasses__()
    return found


MADE = [
    (errors.UsageError("wrong", hint="right"), 2),
    (errors.InvalidReference("a:b", 3, "no host"), 2),
    (errors.InvalidDigest("md5:0"), 2),
    (errors.InvalidPlatform("architecture", "z80", ["x86_64"]), 2),
    (errors.InvalidPolicy("p.toml", "snp.vmpl", "a number is expected"), 2),
    (errors.InvalidFile(Path("f.toml"), "is not TOML"), 2),
    (errors.ImageTooSmall(1, 2), 2),
    (errors.NotFoundError("absent"), 4),
    (errors.NoMatchingDisk("r/x:1", "aarch64/qemu", ["x86_64/qemu"]), 4),
    (errors.DeniedError("no"), 5),
    (errors.WrongPassphrase(), 5),
    (errors.UnreachableError("silence"), 6),
    (errors.RegistryError("500", status=500), 7),
    (errors.ContentError("lies"), 8),
    (errors.DigestMismatch("blob", "sha256:a", "sha256:b"), 8),
    (errors.SizeMismatch("blob", 1, 2), 8),
    (errors.InvalidManifest("index", "no JSON"), 8),
    (errors.InvalidToc("gap"), 8),
    (errors.InvalidFrame("short"), 8),
    (errors.InvalidDelta("of another disk"), 8),
    (errors.InvalidEvidence("TDX quote", "it is cut short", offset=7), 8),
    (errors.NotLuks(), 8),
    (errors.RefusedLuks("cipher", "it is null"), 8),
    (errors.RefusedVerity("salt", "too long"), 8),
    (errors.VerityMismatch(None, 7), 8),
    (errors.InvalidRootfs("layer 1", "../x", "escape", "it leads out"), 8),
    (errors.InvalidWorkload("footer-magic", "there is no footer"), 8),
    (errors.UnsafeDiskError("f", "backing-file", "it has one"), 9),
    (errors.StorageError("f", "full"), 10),
    (errors.ToolError("qemu-img", "missing"), 11),
    (errors.ConflictError("busy"), 12),
    (errors.NotReady("web", "ssh did not answer"), 13),
    (errors.NotAttached("r@sha256:0", [errors.RegistryError("refused")]), 7),
    (errors.DeletionRefused("r:1", "registry.example.com", status=405), 7),
    (errors.HauloutError("root"), 3),
]


def test_the_table_below_knows_every_error_class():
    assert {type(error) for error, _ in MADE} == set(every_error())


@pytest.mark.parametrize(("error", "code"), MADE, ids=lambda value: type(value).__name__)
def test_every_error_class_has_its_exit_code_text_and_hint(error, code):
    failure = explain(error)
    assert (failure.kind, failure.message, failure.hint, failure.exit_code) == (
        type(error).__name__,
        str(error),
        error.hint,
        code,
    )


@pytest.mark.parametrize(
    ("error", "code", "part"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x"), 10, "/data/x: No space left on device"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), b"/data/y"), 10, "/data/y: Permission denied"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), 10, "the operating system: Read-only file system"),
        (OSError("odd"), 10, "the operating system: odd"),
        (MemoryError(), 10, "not enough memory"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again to continue"),
        (Terminated(signal.SIGTERM), 143, "ended by SIGTERM; run the same command again to continue"),
        (Terminated(signal.SIGHUP), 129, "ended by SIGHUP"),
        (click.UsageError("Bad thing."), 2, "bad thing"),
        (click.Abort(), 2, "no answer was given"),
        (ZeroDivisionError("division by zero"), BUG, "this is a bug in haulout"),
        (RecursionError(), BUG, "this is a bug in haulout"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_foreign_errors_are_mapped_too(error, code, part):
    failure = explain(error)
    assert failure.exit_code == code
    assert failure.message.startswith(part)


def test_ctrl_c_under_a_prompt_is_an_interruption():
    abort = click.Abort()
    abort.__context__ = KeyboardInterrupt()
    assert explain(abort).exit_code == 130


BAD_INPUT = [
    [],
    ["pul", "oci:x:1"],
    ["pull"],
    ["pull", ""],
    ["pull", "debian:12"],
    ["pull", "x.example/A:1"],
    ["pull", "x.example/a@sha256:zz"],
    ["pull", "http://x.example/a:1"],
    ["pull", "x.example/a:1\x1b[2J"],
    ["pull", "oci:"],
    ["pull", "oci:x:1", "y"],
    ["pull", "oci:x:1", "--arch", "z80"],
    ["pull", "oci:x:1", "--type", "floppy"],
    ["pull", "oci:x:1", "--as", "iso"],
    ["pull", "oci:x:1", "--jobs", "0"],
    ["pull", "oci:x:1", "--jobs", "many"],
    ["pull", "oci:x:1", "--jobs"],
    ["pull", "oci:x:1", "-o", "-"],
    ["pull", "oci:x:1", "--frobnicate"],
    ["pull", "oci:x:1", "--progress", "loud"],
    ["push", "oci:x:1"],
    ["push", "oci:x:1", "--level", "99", "f"],
    ["push", "oci:x:1", "--disk", "x86_64=f"],
    ["push", "oci:x:1", "--disk", "x86_64/qemu"],
    ["push", "oci:x:1", "--disk", "x86_64/qemu="],
    ["push", "oci:x:1", "--disk", "z80/qemu=f"],
    ["push", "oci:x:1", "--disk", "x86_64/qemu=f", "--arch", "arm64"],
    ["push", "oci:x:1", "f", "--also", "qemu,floppy"],
    ["push", "oci:x:1", "f", "--annotation", "no-value"],
    ["push", "oci:x:1", "f", "--annotation", "disktype=x"],
    ["push", "oci:x:1", "f", "--tag", "a:b"],
    ["push", "oci:x:1", "f", "--source-from-git", "."],
    ["tags"],
    ["tags", "oci:x:1"],
    ["tags", "x.example"],
    ["tag", "oci:x:1"],
    ["tag", "oci:x:1", ""],
    ["tag", "oci:x:1", "a/b"],
    ["delete"],
    ["delete", "oci:x"],
    ["delete", "x.example/a"],
    ["prune", "oci:x"],
    ["prune", "oci:x:1", "--keep", "1"],
    ["prune", "oci:x", "--keep", "0"],
    ["prune", "oci:x", "--older-than", "yesterday"],
    ["find"],
    ["find", "sha256:12"],
    ["find", "sha512:12", "oci:x"],
    ["cache", "purge"],
    ["resolve", "x.example"],
    ["inspect", "https://x.example/a"],
    ["login"],
    ["login", "x.example", "-u", "me"],
    ["login", "x.example", "--password", "hush", "-u", "me"],
    ["completion", "tcsh"],
    ["evidence", "verfy", "x"],
    ["evidence", "verify"],
    ["evidence", "verify", "x", "--at", "yesterday"],
    ["evidence", "verify", "x", "--at", "0001-01-01T00:00:00+23:59"],
    ["evidence", "verify", "x", "--report-data", "abcd"],
    ["evidence", "verify", "x", "--report-data", "zz" * 64],
    ["evidence", "emulate", "sgx", "lab"],
    ["evidence", "emulate", "snp"],
    ["evidence", "emulate", "snp", "lab", "--workload", "abcd"],
    ["evidence", "emulate", "snp", "lab", "--workload", "ab" * 48],
    ["--progress"],
    ["--nonsense"],
]


@pytest.mark.parametrize("arguments", BAD_INPUT, ids=" ".join)
def test_bad_usage_is_one_line_with_a_way_out_and_exit_code_2(arguments, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(arguments) == 2
    told = capsys.readouterr()
    if arguments:
        first, *rest = told.err.splitlines()
        assert first.startswith("haulout: ")
        assert len(first) > len("haulout: ")
        assert first.isprintable()
        assert [line[:8] for line in rest] in ([], ["  hint: "])
        assert told.out == ""
    assert "Traceback" not in told.err
    assert "hush" not in told.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["pull", "oci:nowhere:1"], 4),
        (["resolve", "oci:nowhere:1"], 4),
        (["inspect", "oci:nowhere:1"], 4),
        (["inspect", "./missing.qcow2"], 4),
        (["inspect", "missing.qcow2"], 4),
        (["push", "oci:x:1", "missing.qcow2"], 4),
        (["tags", "oci:nowhere"], 4),
        (["tag", "oci:nowhere:1", "2"], 4),
        (["delete", "oci:nowhere:1"], 4),
        (["prune", "oci:nowhere", "--keep", "1"], 4),
        (["find", "missing.qcow2"], 4),
        (["inspect", "."], 9),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_not_there_is_one_line_too(arguments, code, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == code
    told = capsys.readouterr()
    assert told.err.startswith("haulout: ")
    assert len(told.err.splitlines()) <= 2
    assert "Traceback" not in told.err


def test_an_error_goes_to_stdout_as_json_where_json_was_asked_for(capsys):
    assert main(["pull", "debian:12", "--json"]) == 2
    told = capsys.readouterr()
    assert (
        json.loads(told.out)
        == {
            "error": {
                "kind": "InvalidReference",
                "message": "not a reference: 'debian:12': no registry host, at character 10",
                "hint": "spell the host out, for example docker.io/library/debian:tag, or use oci:DIR:TAG",
                "exit_code": 2,
            }
        }
        or json.loads(told.out)["error"]["kind"] == "InvalidReference"
    )
    assert told.err.startswith("haulout: not a reference")


@pytest.mark.parametrize("arguments", [["--json", "pull", "--bad"], ["pull", "--bad", "--json"]])
def test_json_is_honoured_where_the_arguments_do_not_parse(arguments, capsys):
    assert main(arguments) == 2
    assert json.loads(capsys.readouterr().out)["error"]["exit_code"] == 2


def test_after_a_double_dash_json_is_a_name(capsys):
    assert main(["inspect", "--", "--json"]) in {2, 4}
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("option", [["--progress", "json"], ["--progress=json"]])
def test_with_json_progress_the_error_is_a_json_line_on_stderr(option, capsys):
    assert main(["pull", "debian:12", *option]) == 2
    event = json.loads(capsys.readouterr().err)
    assert (event["event"], event["kind"], event["exit_code"]) == ("error", "InvalidReference", 2)


def test_a_bug_is_one_line_and_a_traceback_only_on_demand(capsys, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("division by \x1b[31mzero")

    monkeypatch.setattr(cli, "_run", broken)
    assert main(["pull", "oci:x:1"]) == BUG
    told = capsys.readouterr()
    assert told.err.splitlines() == [
        rf"haulout: this is a bug in haulout {haulout.__version__}: ZeroDivisionError: division by \x1b[31mzero",
        "  hint: please report it, with what the same command prints under --debug",
    ]
    assert main(["pull", "oci:x:1", "--debug"]) == BUG
    told = capsys.readouterr()
    assert "Traceback" in told.err
    assert "\x1b" not in told.err
    monkeypatch.setenv("HAULOUT_DEBUG", "1")
    assert main(["pull", "oci:x:1"]) == BUG
    assert "Traceback" in capsys.readouterr().err


def test_an_endless_message_is_cut(capsys, monkeypatch):
    def broken(*_):
        raise errors.RegistryError("x" * 1_000_000)

    monkeypatch.setattr(cli, "_run", broken)
    assert main([]) == 7
    assert len(capsys.readouterr().err) < 3000


# From here on with real processes: signals, pipes and full disks.


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with sandbox(tmp_path_factory.mktemp("main"), registry=False) as made:
        assert made.haulout("push", "oci:machines:5.0", "disk.raw").code == 0
        yield made


def test_version_is_printed(place: Sandbox):
    done = place.haulout("--version")
    assert (done.code, done.out) == (0, f"haulout {haulout.__version__}\n")


def test_a_closed_pipe_ends_quietly(place: Sandbox):
    done = place.shell("set -o pipefail; haulout inspect oci:machines:5.0 | true; echo ${PIPESTATUS[0]}")
    assert done.err == ""
    assert done.out in {"141\n", "0\n"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_result_that_cannot_be_written_is_an_error(place: Sandbox):
    done = place.shell("haulout resolve oci:machines:5.0 --type raw > /dev/full")
    assert done.code == 10
    assert done.err == "haulout: standard output cannot be written: No space left on device\n"


def test_a_closed_stdout_is_no_bug(place: Sandbox):
    done = place.shell("haulout resolve oci:machines:5.0 --type raw >&-")
    assert "bug" not in done.err
    assert "Traceback" not in done.err


def test_a_foreign_locale_is_no_bug(place: Sandbox):
    done = place.haulout(
        "pull", "oci:machines:5.0", "--type", "raw", LANG="C", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"
    )
    assert done.code == 0, done.err
    assert "pulled" in done.out or "already" in done.out


def _hanging(place: Sandbox, tmp_path: Path, number: int) -> tuple[int, str]:
    """Send a signal to a haulout that waits for a server which never answers."""
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        process = subprocess.Popen(
            [sys.executable, "-m", "haulout", "resolve", f"127.0.0.1:{server.getsockname()[1]}/x:1"],
            cwd=place.path,
            # The HTTP client leaves a half-made TLS socket to the garbage collector, which warns only where told to.
            env={name: value for name, value in place.environment.items() if name != "PYTHONWARNINGS"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            server.settimeout(30)
            connection, _ = server.accept()
            with connection:
                time.sleep(0.1)
                process.send_signal(number)
                _, err = process.communicate(timeout=30)
    return process.returncode, err


@pytest.mark.parametrize(
    ("number", "code", "text"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "ended by SIGTERM"), (signal.SIGHUP, 129, "ended by")],
)
def test_signals_end_with_one_line_and_their_code(place, tmp_path, number, code, text):
    returned, err = _hanging(place, tmp_path, number)
    assert returned == code, err
    assert err.startswith(f"haulout: {text}")
    assert len(err.splitlines()) == 1


def test_a_hangup_is_ignored_under_nohup(place: Sandbox):
    done = place.shell("trap '' HUP; haulout resolve oci:machines:5.0 --type raw & wait $!")
    assert done.code == 0


# Every class for real, as far as this machine can bring it about.


def test_exit_5_wrong_password(tmp_path, place: Sandbox):
    (tmp_path / "none.json").write_text("{}")
    with docker_registry(tmp_path, auth=("builder", "right")) as server:
        done = place.haulout("resolve", f"{server.host}/machines:5.0", REGISTRY_AUTH_FILE=str(tmp_path / "none.json"))
    assert (done.code, len(done.err.splitlines()) <= 2) == (5, True), done.err


def test_credentials_come_from_a_variable_and_show_nowhere(tmp_path, place: Sandbox):
    auth = base64.b64encode(b"builder:right").decode()
    with docker_registry(tmp_path, auth=("builder", "right")) as server:
        inline = json.dumps({"auths": {server.host: {"auth": auth}}})
        asked = ("tags", f"{server.host}/machines", "--debug-http")
        done = place.haulout(*asked, REGISTRY_AUTH_FILE="", DOCKER_AUTH_CONFIG=inline)
        # The repository is not there: who asks was let in.
        assert (done.code, "401" in done.err) == (4, True), done.err
        broken = place.haulout(*asked, REGISTRY_AUTH_FILE="", DOCKER_AUTH_CONFIG=inline[:-1])
        assert (broken.code, "the variable DOCKER_AUTH_CONFIG is not JSON" in broken.err) == (2, True), broken.err
        missing = place.haulout(*asked, REGISTRY_AUTH_FILE="/nowhere/auth.json", DOCKER_AUTH_CONFIG=inline)
        assert missing.code == 2
        assert "there is no file /nowhere/auth.json, which REGISTRY_AUTH_FILE names" in missing.err
        assert not any(auth in text or "right" in text for text in (done.err, broken.err, missing.err))


def test_exit_6_nobody_listens(place: Sandbox):
    done = place.haulout("resolve", f"127.0.0.1:{free_port()}/machines:5.0")
    assert done.code == 6
    assert len(done.err.splitlines()) <= 2


def test_exit_8_a_flipped_bit(tmp_path, place: Sandbox):
    raw_disk(place.path / "other.raw", 9)
    assert place.haulout("push", "oci:flipped:1", "other.raw").code == 0
    blobs = (place.path / "flipped" / "blobs" / "sha256").iterdir()
    largest = max(blobs, key=lambda blob: blob.stat().st_size)
    data = bytearray(largest.read_bytes())
    # The middle may be a frame of zeros, which nobody decodes.
    data[len(data) // 4] ^= 1
    largest.chmod(0o644)
    largest.write_bytes(data)
    done = place.haulout("pull", "oci:flipped:1", "--type", "raw", "-o", "flipped.raw", "--json")
    assert done.code == 8, done.err
    assert done.json["error"]["exit_code"] == 8
    assert not (place.path / "flipped.raw").exists()


@pytest.mark.tools
@needs("qemu-img")
def test_exit_9_a_backing_file_and_inspect_answers_no(place: Sandbox):
    assert place.shell("qemu-img create -q -f qcow2 -F raw -b disk.raw thin.qcow2").code == 0
    pushed = place.haulout("push", "oci:thin:1", "thin.qcow2")
    assert pushed.code == 9, pushed.err
    inspected = place.haulout("inspect", "thin.qcow2", "--json")
    assert (inspected.code, inspected.json["safe"]) == (1, False)
    assert "backing-file" in {danger["rule"] for danger in inspected.json["dangers"]}
    assert "DANGER" in place.haulout("inspect", "thin.qcow2").out


def test_exit_10_no_such_place_to_write(place: Sandbox):
    done = place.haulout("pull", "oci:machines:5.0", "--type", "raw", "-o", "/proc/nowhere/disk.raw")
    assert done.code == 10, done.err


def test_exit_11_no_qemu_img(place: Sandbox):
    program = place.environment["PATH"].split(":")[0]
    done = place.haulout(
        "pull", "oci:machines:5.0", "--type", "raw", "--as", "vmdk", "-o", "made.vmdk", PATH=f"{program}:/nonexistent"
    )
    assert done.code == 11, done.err
    assert not (place.path / "made.vmdk").exists()


def test_remote_text_cannot_reach_the_terminal(place: Sandbox):
    """A title with an escape sequence, published by somebody else."""
    assert place.haulout("push", "oci:evil:1", "disk.raw").code == 0
    index_path = place.path / "evil" / "index.json"
    index = json.loads(index_path.read_text())
    index["manifests"][0].setdefault("annotations", {})["note"] = "\x1b]0;owned\x07\u202e"
    index_path.write_text(json.dumps(index))
    for arguments in (["inspect", "oci:evil:1"], ["inspect", "oci:evil:1", "--json"]):
        done = place.haulout(*arguments)
        assert done.code == 0, done.err
        assert not {"\x1b", "\x07", "\u202e"} & {*done.out, *done.err}


def test_only_the_command_line_prints_and_exits():
    for path in sorted((ROOT / "src/haulout").rglob("*.py")):
        text = path.read_text()
        # A module that is a program of its own ends as a program does.
        if path.name == "__main__.py" or path.parent.name == "cli" or 'if __name__ == "__main__":' in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                # The child of a fork ends without its parent's clean-up, where it cannot become the workload.
                ends = {"os._exit"} if path.match("haulout/guest/root.py") else set()
                assert called not in {"print", "exit", "sys.exit", "os._exit", "input"} - ends, f"{path}:{node.lineno}"


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_with_standard_error_closed_the_work_is_done(tmp_path, closed):
    with sandbox(tmp_path, registry=False) as box:
        raw_disk(box.path / "closed.raw", 7)
        done = box.shell(f"haulout push oci:closed:1 closed.raw --type raw {closed}")
        assert done.code == 0
        assert box.shell(f"haulout pull oci:closed:1 --type raw -o back.raw {closed}").code == 0
        assert (box.path / "back.raw").read_bytes() == (box.path / "closed.raw").read_bytes()


def test_a_user_without_a_home_can_work(tmp_path):
    """As in containers that run under a number which no password file knows."""
    with sandbox(tmp_path, registry=False) as box:
        code = (
            "import os, pwd, sys\n"
            "for name in ('HOME', 'XDG_CACHE_HOME', 'XDG_CONFIG_HOME', 'REGISTRY_AUTH_FILE'): os.environ.pop(name, None)\n"
            "def nobody(uid): raise KeyError(uid)\n"
            "pwd.getpwuid = nobody\n"
            "from haulout.cli.main import main\n"
            "sys.exit(main(sys.argv[1:]))\n"
        )
        (box.path / "homeless.py").write_text(code)
        run = f"{sys.executable} homeless.py"
        pushed = box.shell(f"{run} push oci:homeless:1 disk.raw -q")
        assert pushed.code == 0, pushed.err
        pulled = box.shell(
            f"{run} pull oci:homeless:1 --type raw -o back.raw -q && {run} pull oci:homeless:1 --type raw --as qcow2 -o b.qcow2 -q"
        )
        assert pulled.code == 0, pulled.err
        unreachable = box.shell(f"{run} pull 127.0.0.1:{free_port()}/a/b:1")
        assert unreachable.code == 6, unreachable.err
        refused = box.shell(f"echo x | {run} logout 127.0.0.1:1")
        assert refused.code in {0, 1}, refused.err

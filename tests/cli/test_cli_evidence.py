"""``haulout evidence`` at the command line: verdicts, exit codes, one line for whatever is wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.evidence import AT, BOOT, DATA, cca, snp, tdx, vector
from tests.support.sandbox import ROOT

from haulout.cli.main import main
from haulout.emulator import make_bundle

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.emulator import Platform

STAMP = AT.strftime("%Y-%m-%dT%H:%M:%SZ")
PLATFORMS: dict[str, Callable[[], Platform]] = {"snp": snp, "tdx": tdx, "cca": cca}


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind, platform in PLATFORMS.items():
        Path(kind).mkdir()
        for name, data in make_bundle(platform(), BOOT, AT, report_data=DATA).files.items():
            Path(kind, name).write_bytes(data)
    return tmp_path


def arguments(kind, *more):
    files = ["--collateral", "tdx/collateral.json"] if kind == "tdx" else ["--cert", f"{kind}/certificates.pem"]
    return ["evidence", "verify", f"{kind}/evidence.bin", *files, "--at", STAMP, *more]


def policy(kind):
    return ["--policy", f"{kind}/policy.toml"]


@pytest.mark.parametrize("kind", PLATFORMS)
def test_what_is_accepted_ends_with_0(kind, lab, capsys):
    assert main(arguments(kind, *policy(kind), "--report-data", DATA.hex())) == 0
    told = capsys.readouterr()
    assert told.out.startswith(f"{kind}/evidence.bin: ")
    assert "accepted, by the policy emulator" in told.out
    assert told.err == ""


@pytest.mark.parametrize("kind", PLATFORMS)
def test_what_is_refused_ends_with_1_and_names_the_rule(kind, lab, capsys):
    assert main(arguments(kind)) == 1
    told = capsys.readouterr()
    assert "REFUSED" in told.out
    assert "[test-root]" in told.out.splitlines()[0]
    assert "claims (NOT verified):" in told.out
    assert main(arguments(kind, *policy(kind), "--report-data", "00" * 64)) == 1
    assert "[report-data]" in capsys.readouterr().out.splitlines()[0]


def test_the_kind_is_seen_by_itself_and_json_is_one_line(lab, capsys):
    for kind in PLATFORMS:
        assert main([*arguments(kind, *policy(kind)), "--json"]) == 0
        out = capsys.readouterr().out
        assert out.count("\n") == 1
        found = json.loads(out)
        assert (found["kind"], found["verdict"], found["rule"], found["genuine"]) == (kind, "accepted", None, True)
        assert (found["at"], found["policy"]) == (STAMP, "emulator")
        assert found["origin"]["test_root"] is True
        assert found["claims"]["report_data"] == DATA.hex()
        assert main([*arguments(kind), "--json"]) == 1
        found = json.loads(capsys.readouterr().out)
        assert (found["verdict"], found["rule"], found["genuine"], found["origin"]) == (
            "refused",
            "test-root",
            False,
            None,
        )


def test_quiet_is_the_verdict_alone(lab, capsys):
    assert main([*arguments("cca", *policy("cca")), "--quiet"]) == 0
    assert capsys.readouterr().out == "accepted\n"
    assert main([*arguments("cca"), "--quiet"]) == 1
    assert capsys.readouterr().out == "refused: test-root\n"


@pytest.mark.parametrize(("one", "other"), [("snp", "tdx"), ("snp", "cca"), ("tdx", "cca"), ("cca", "snp")])
def test_evidence_of_another_tee_is_refused_by_a_policy(one, other, lab, capsys):
    shutil.copy(f"{other}/policy.toml", "other.toml")
    root = f'roots = ["{PLATFORMS[one]().root.fingerprint()}"]'
    lines = [root if line.startswith("roots") else line for line in Path("other.toml").read_text().splitlines()]
    Path("other.toml").write_text("\n".join(lines))
    assert main(arguments(one, "--policy", "other.toml")) == 1
    assert "[tee]" in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("empty", lambda data: b""),
        ("cut short", lambda data: data[:-1]),
        ("JSON", lambda data: b'{"quote": "AAAA"}'),
        ("a disk", lambda data: b"QFI\xfb" + bytes(1 << 21)),
        ("text", lambda data: b"hello\x1b[2J"),
        ("an SGX quote", lambda data: b"\x03\0\x02\0" + bytes(500)),
        ("a certificate", lambda data: snp().vcek.pem()),
    ],
)
@pytest.mark.parametrize("kind", PLATFORMS)
def test_what_cannot_be_read_ends_with_8_in_one_line(kind, name, change, lab, capsys):
    path = Path(kind, "evidence.bin")
    path.write_bytes(change(path.read_bytes()))
    assert main(arguments(kind, *policy(kind))) == 8
    one_line(capsys)


@pytest.mark.parametrize("kind", PLATFORMS)
@pytest.mark.parametrize("behind", [b"\x01", b"a trailer of 39 bytes, of another tool.", bytes(range(20)), None])
def test_what_is_behind_evidence_is_told_of_a_quote_and_refused_of_others(kind, behind, lab, capsys):
    path = Path(kind, "evidence.bin")
    data = path.read_bytes()
    path.write_bytes(data + (data if behind is None else behind))
    assert main(arguments(kind, *policy(kind))) == (0 if kind == "tdx" else 8)
    if kind == "tdx":
        count = len(path.read_bytes()) - len(data.rstrip(b"\0")) - 1
        assert f"note: {count} bytes behind the TDX quote were not looked at" in capsys.readouterr().out
        changed = bytearray(path.read_bytes())
        changed[200] ^= 4
        path.write_bytes(changed)
        assert main(arguments(kind, *policy(kind))) == 1
        return
    one_line(capsys)


@pytest.mark.parametrize("kind", PLATFORMS)
def test_evidence_in_text_and_json(kind, lab, capsys):
    path = Path(kind, "evidence.bin")
    data = path.read_bytes()
    path.write_text(json.dumps({"quote": data.hex(), "event_log": "[]"}))
    assert main(arguments(kind, *policy(kind))) == 0
    assert "  found in: JSON, hexadecimal" in capsys.readouterr().out.splitlines()
    assert main([*arguments(kind, *policy(kind)), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["wrapping"] == ["JSON", "hexadecimal"]
    changed = bytearray(data)
    changed[-1 if kind == "cca" else 200] ^= 4
    path.write_text(changed.hex())
    assert main(arguments(kind, *policy(kind))) == 1


def one_line(capsys):
    told = capsys.readouterr()
    assert told.out == ""
    first, *rest = told.err.splitlines()
    assert first.startswith("haulout: ")
    assert first.isprintable()
    assert [line[:8] for line in rest] in ([], ["  hint: "])
    return first


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (["--policy", "absent.toml"], 4),
        (["--cert", "absent.pem"], 4),
        (["--collateral", "absent.json"], 4),
        (["--policy", "."], 10),
        (["--cert", "."], 10),
        (["--policy", "future.toml"], 2),
        (["--policy", "unknown.toml"], 2),
        (["--policy", "snp/evidence.bin"], 2),
        (["--cert", "snp/policy.toml"], 8),
        (["--collateral", "snp/policy.toml"], 8),
        (["--policy", "large.toml"], 8),
    ],
)
def test_other_files_that_cannot_be_used(more, code, lab, capsys):
    Path("future.toml").write_text("schema = 2\n")
    Path("unknown.toml").write_text('schema = 1\n[snp]\nproducts = ["Genoa"]\nmesurements = []\n')
    Path("large.toml").write_bytes(b"#" * ((4 << 20) + 1))
    assert main(arguments("snp", *more)) == code
    first = one_line(capsys)
    if "unknown.toml" in more:
        assert "unknown.toml is not a valid policy at snp.mesurements" in first


def test_evidence_that_is_not_there(lab, capsys):
    assert main(["evidence", "verify", "absent"]) == 4
    assert "no such file: absent" in one_line(capsys)


def test_secrets_of_a_key_given_by_mistake_are_not_told(lab, capsys):
    shutil.copy("cca/certificates.pem", "cert.pem")
    Path("key.json").write_text('{"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA", "d": "c2VjcmV0"}')
    assert main(arguments("cca", "--cert", "key.json")) == 8
    told = capsys.readouterr()
    assert "c2VjcmV0" not in told.err + told.out


def test_emulated_evidence_is_made_and_judged(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for kind in ("tdx", "cca"):
        Path("kernel").write_bytes(b"kernel" * 5000)
        make = ["evidence", "emulate", kind, f"lab-{kind}", "--boot", "kernel", "--command-line", "quiet"]
        assert main([*make, "--report-data", DATA.hex(), "--json"]) == 0
        made = json.loads(capsys.readouterr().out)
        files = made["files"]
        beside = ["--cert", files["certificates"]] if kind == "cca" else ["--collateral", files["collateral"]]
        judge = ["evidence", "verify", files["evidence"], *beside, "--policy", files["policy"]]
        assert main([*judge, "--report-data", DATA.hex()]) == 0
        capsys.readouterr()
        # Another kernel, the same platform: the old policy refuses it.
        Path("kernel").write_bytes(b"kernel" * 4999 + b"rootkit")
        shutil.copy(files["policy"], "old.toml")
        assert main(make) == 0
        judge[judge.index("--policy") + 1] = "old.toml"
        assert main(judge) == 1
        assert "[measurement]" in capsys.readouterr().out
        assert oct(Path(f"lab-{kind}", "emulator.json").stat().st_mode & 0o777) == "0o600"


def test_an_emulator_of_another_kind_is_left_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["evidence", "emulate", "cca", "lab"]) == 0
    before = {path.name: path.read_bytes() for path in Path("lab").iterdir()}
    capsys.readouterr()
    assert main(["evidence", "emulate", "tdx", "lab"]) == 8
    one_line(capsys)
    assert {path.name: path.read_bytes() for path in Path("lab").iterdir()} == before


def test_a_base_install_does_without_the_optional_packages(tmp_path):
    """A directory with all packages but those: what is not about evidence works, evidence says what is missing."""
    import click

    here = Path(click.__file__).parents[1]
    links = tmp_path / "packages"
    links.mkdir()
    for entry in here.iterdir():
        if not entry.name.lower().startswith(
            ("cryptography", "cbor2", "_cbor2", "cffi", "_cffi", "sevsnp", "__", "_edit")
        ):
            (links / entry.name).symlink_to(entry)

    def run(*argv):
        return subprocess.run(
            [sys.executable, "-S", "-m", "haulout", *argv],
            env={"PYTHONPATH": f"{ROOT / 'src'}:{links}", "HOME": str(tmp_path), "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=tmp_path,
        )

    (tmp_path / "x").write_bytes(bytes(1184))
    assert run("inspect", "x").returncode in {0, 1}
    assert run("evidence", "verify", "--help").returncode == 0
    done = run("evidence", "verify", "x")
    assert done.returncode == 11
    assert "haulout[confidential]" in done.stderr
    assert "Traceback" not in done.stderr


def test_real_evidence_at_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("milan-v3.report.bin", "milan-v3.vcek.pem", "milan.ask.pem", "milan.ark.pem"):
        Path(name).write_bytes(vector(f"snp/{name}"))
    chain = [part for name in ("milan.ark.pem", "milan-v3.vcek.pem", "milan.ask.pem") for part in ("--cert", name)]
    assert main(["evidence", "verify", "milan-v3.report.bin", *chain, "--at", "2026-06-01"]) == 0
    assert "AMD ARK-Milan" in capsys.readouterr().out
    assert main(["evidence", "verify", "milan-v3.report.bin", *chain, "--at", "2026-01-01"]) == 1
    assert "[certificate-validity]" in capsys.readouterr().out

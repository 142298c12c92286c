"""What is opened, taken out and rekeyed, beside cryptsetup, qemu-img and debugfs; and the verbs at the command line."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
from pathlib import Path

import pytest
from tests.support.servers import needs

from haulout.cli.main import main

pytestmark = pytest.mark.tools
ENV = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}


def tool(*arguments, check=True):
    return subprocess.run([str(part) for part in arguments], check=check, capture_output=True, env=ENV)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = tmp_path_factory.mktemp("built")
    root = place / "root/etc"
    root.mkdir(parents=True)
    (root / "motd").write_text("hello from inside\n")
    with (root / "sparse").open("wb") as file:
        file.seek(3_000_000)
        file.write(b"end")
    (root / "again").hardlink_to(root / "motd")
    (root / "link").symlink_to("/etc/motd")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        build = ["cw", "build", "root", "oci:secret:1", "--passphrase-out", "key", "--workload-id", "web", "-q"]
        assert main(build) == 0
    return place


@pytest.fixture
def built(made, tmp_path, monkeypatch):
    tool("cp", "-a", f"{made}/.", tmp_path)
    monkeypatch.chdir(tmp_path)


def disk(tag: str) -> Path:
    index = json.loads(Path("secret/index.json").read_bytes())
    entry = next(
        one for one in index["manifests"] if one["annotations"].get("org.opencontainers.image.ref.name") == tag
    )
    manifest = json.loads(Path("secret/blobs/sha256", entry["digest"][7:]).read_bytes())
    layer = Path("secret/blobs/sha256", manifest["layers"][-1]["digest"][7:])
    folder = Path(f"taken-{tag}")
    folder.mkdir(exist_ok=True)
    tool("tar", "-xf", layer, "-C", folder, "disk.img")
    return folder / "disk.img"


@needs("cryptsetup", "qemu-img", "debugfs", "tar")
def test_others_open_what_was_rekeyed(built, capsys):
    change = ["cw", "rekey", "oci:secret:1", "--passphrase-file", "key", "-q"]
    assert main([*change[:3], "oci:secret:2", *change[3:], "--new-passphrase-out", "new"]) == 0
    assert main([*change[:3], "oci:secret:3", *change[3:], "--new-passphrase-file", "new", "--reencrypt"]) == 0
    assert stat.S_IMODE(Path("new").stat().st_mode) == 0o600
    keys = {}
    for tag, right, wrong in (("1", "key", "new"), ("2", "new", "key"), ("3", "new", "key")):
        image = disk(tag)
        test = ("cryptsetup", "open", "--test-passphrase", "--type", "luks1", image, "--key-file")
        tool(*test, right)
        assert tool(*test, wrong, check=False).returncode == 2
        dump = tool("cryptsetup", "luksDump", image).stdout.decode()
        assert dump.count("ENABLED") == 1
        keys[tag] = dump[dump.index("MK digest") : dump.index("MK iterations")]
        secret = f"secret,id=k,file={right}"
        source = f"driver=luks,key-secret=k,file.filename={image}"
        tool("qemu-img", "convert", "--object", secret, "--image-opts", source, "-O", "raw", f"plain-{tag}")
        shown = tool("debugfs", "-R", "cat /etc/motd", f"plain-{tag}").stdout
        assert shown == b"hello from inside\n"
    assert keys["1"] == keys["2"] != keys["3"]
    capsys.readouterr()
    # What qemu decrypts is what cw open writes, but for the footer behind it.
    assert main(["cw", "open", "oci:secret:3", "--passphrase-file", "new", "-o", "ours", "-q"]) == 0
    size = Path("ours").stat().st_size
    with Path("plain-3").open("rb") as theirs:
        assert hashlib.sha256(theirs.read(size)).digest() == hashlib.sha256(Path("ours").read_bytes()).digest()
    tool("e2fsck", "-fn", "ours")


@needs("cryptsetup", "tar")
def test_a_disk_that_cryptsetup_rekeyed_is_opened(built):
    image = disk("1")
    Path("other").write_bytes(b"by cryptsetup")
    tool("cryptsetup", "luksChangeKey", "--key-file", "key", "--pbkdf-force-iterations", "1000", image, "other")
    assert main(["cw", "open", str(image), "--passphrase-file", "other"]) == 0
    assert main(["cw", "rekey", str(image), "--passphrase-file", "other", "--new-passphrase-file", "key", "-q"]) == 0
    tool("cryptsetup", "open", "--test-passphrase", "--key-file", "key", image)


@needs("mkfs.ext4", "cryptsetup", "qemu-img")
@pytest.mark.parametrize("features", ["", "^64bit,^metadata_csum", "bigalloc", "^has_journal,large_dir"])
def test_file_systems_of_mkfs_as_mkcw_makes_them(built, features, tmp_path):
    """Such as buildah's: an ext4 of mkfs -d, a LUKS volume around it, a footer, no binding."""
    many = tmp_path / "root/many"
    many.mkdir()
    for number in range(700):
        (many / f"{'name' * 9}{number:04}").write_text(str(number))
    (tmp_path / "root/.krun_config.json").write_text("{}")
    option = ["-O", features] if features else []
    tool("mkfs.ext4", "-q", *option, "-d", "root", "fs", "64M")
    secret = "secret,id=k,file=key"
    convert = (
        "qemu-img",
        "convert",
        "--object",
        secret,
        "-O",
        "luks",
        "-o",
        "key-secret=k,iter-time=200",
        "fs",
        "volume",
    )
    # It measures how fast the processor is, and gives up where it was given none: "Unable to get accurate CPU usage".
    assert any(tool(*convert, check=False).returncode == 0 for _ in range(20))
    data = Path("volume").read_bytes()
    document = json.dumps(
        {"tee": "snp", "tee_data": "{}", "workload_id": "w", "cpus": 1, "ram_mib": 1, "attestation_url": ""}
    ).encode()
    padding = bytes(-(len(data) + len(document) + 12) % 4096)
    Path("disk.img").write_bytes(data + padding + document + b"KRUN" + len(document).to_bytes(8, "little"))
    assert main(["cw", "extract", "disk.img", "out", "--passphrase-file", "key", "-q"]) == 0
    tool("diff", "-r", "--no-dereference", "root", "out", check=False)
    left, right = (
        {path.relative_to(top): path.read_bytes() for path in Path(top).rglob("*") if path.is_file()}
        for top in ("root", "out")
    )
    assert left == right
    assert Path("out/etc/again").stat().st_ino == Path("out/etc/motd").stat().st_ino


def test_what_is_taken_out_and_said(built, capsys):
    capsys.readouterr()
    assert main(["cw", "extract", "oci:secret:1", "out", "--passphrase-file", "key", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["verb"], said["files"], said["links"], said["verified"]) == ("cw extract", 3, 2, True)
    sparse = Path("out/etc/sparse").stat()
    assert sparse.st_size == 3_000_003
    assert sparse.st_blocks * 512 < 200_000
    assert main(["cw", "open", "oci:secret:1", "--passphrase-file", "key", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {"path": "etc/link", "kind": "symlink"}.items() <= next(
        one for one in said["files"] if one["path"] == "etc/link"
    ).items()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["open", "oci:secret:1", "-p", "secret"], 2),
        (["open", "oci:secret:1"], 2),
        (["open", "oci:secret:9", "--passphrase-file", "key"], 4),
        (["open", "key", "--passphrase-file", "key"], 8),
        (["extract", "oci:secret:1", "root", "--passphrase-file", "key"], 10),
        (["rekey", "oci:secret:1", "--passphrase-file", "key"], 2),
        (["rekey", "oci:secret:1", "--passphrase-file", "-", "--new-passphrase-file", "-"], 2),
        (["rekey", "oci:secret:1", "--passphrase-file", "key", "--new-passphrase-file", "key"], 2),
        (["rekey", "oci:secret:1", "--passphrase-file", "key", "--new-passphrase-out", "key"], 10),
        (["trustee", "oci:secret:1", "--out", "root"], 10),
        (["trustee", "oci:secret:1", "--out", "t", "--resource", "a/../b"], 2),
        (["trustee", "oci:secret:1", "--out", "t", "--kbs-url", "http://x'''"], 2),
    ],
)
def test_what_cannot_be_done_says_so_in_one_line(built, arguments, code, capsys):
    capsys.readouterr()
    before = sorted(Path().iterdir())
    assert main(["cw", *arguments]) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) <= 2
    assert "secret\n" not in told.err.replace("oci:secret", "")
    assert sorted(Path().iterdir()) == before


def test_evidence_that_names_an_image(built, capsys):
    capsys.readouterr()
    assert main(["cw", "inspect", "oci:secret:1", "--json"]) == 0
    binding = json.loads(capsys.readouterr().out)["binding"]
    Path("boot").write_bytes(b"kernel" * 999)
    lab = ["evidence", "emulate", "snp", "lab", "--boot", "boot", "--workload"]
    verify = ["evidence", "verify", "lab/evidence.bin", "--cert", "lab/certificates.pem"]
    assert main([*lab, binding["host_data"]]) == 0
    assert main([*verify, "--policy", "lab/policy.toml", "--image", "oci:secret:1"]) == 0
    assert "the binding of oci:secret:1" in capsys.readouterr().out
    # Without the policy that trusts the emulator, it is none.
    assert main([*verify, "--image", "oci:secret:1"]) == 1
    assert "test-root" in capsys.readouterr().out
    # Another image, or another workload in the policy, is refused.
    assert main(["cw", "build", "root", "oci:secret:2", "--passphrase-file", "key", "--workload-id", "web", "-q"]) == 0
    assert main([*verify, "--policy", "lab/policy.toml", "--image", "oci:secret:2"]) == 1
    assert "[workload]" in capsys.readouterr().out
    assert main([*lab[:-1], "--workload", "00" * 32]) == 0
    assert main([*verify, "--policy", "lab/policy.toml"]) == 0
    assert main([*verify, "--policy", "lab/policy.toml", "--image", "oci:secret:1"]) == 1
    capsys.readouterr()
    # The policy is about another TEE than the image.
    Path("tdx.toml").write_text("schema = 1\n[tdx]\n")
    assert main([*verify, "--policy", "tdx.toml", "--image", "oci:secret:1"]) == 1
    assert main([*verify, "--image", "oci:root:1"]) == 4

"""What other tools do with a tag that Haulout pushed."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from functools import partial
from pathlib import Path

from tests.peers.lab import ARCHITECTURES, NEW, OLD, Lab, Row, said
from tests.support.disks import sha256
from tests.support.peers import SECONDS, ironic

import haulout
from haulout.oci import Digest

NO_IMAGE = 'no image found in image index for architecture "amd64"'
VERSIONS = "the versions; where there is no referrers API, fallback tags"
_HTTP = ("--from-plain-http", "--to-plain-http")
NO_CHILD = "no child with platform linux/amd64"


def _machine(lab: Lab) -> str:
    reference = lab.fresh()
    haulout.push(f"{reference}:5.8", lab.new, also=["qemu", "hyperv"])
    done = lab.machine_init(f"docker://{reference}:5.8")
    assert done.code == 0, done.err
    # podman makes the disk larger; what was in it stays.
    raw = lab.place("raw")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", lab.folder / "machine", raw], check=True)
    with raw.open("rb") as made, lab.new.open("rb") as wanted:
        assert made.read(lab.new.stat().st_size) == wanted.read()
    raw.unlink()
    return "makes the machine"


def _machine_of_file(lab: Lab) -> str:
    """Of a file that Haulout pulled."""
    file = lab.place("pulled").with_suffix(".qcow2")
    haulout.pull(f"{lab.source}:{NEW}", architecture="x86_64", disk_type="qemu", output=file)
    done = lab.machine_init(str(file))
    assert done.code == 0, done.err
    return "makes the machine"


def _machine_newer(lab: Lab) -> str:
    """The tag with two architectures, pushed over an earlier version."""
    done = lab.machine_init(f"docker://{lab.source}:{NEW}")
    assert done.code == 0, done.err
    return "makes the machine"


def _is_the_disk(lab: Lab, blob: Path) -> str:
    plain = lab.place("plain")
    subprocess.run(["zstd", "-qd", blob, "-o", plain], check=True, capture_output=True)
    return "the disk" if sha256(plain) == sha256(lab.new) else "something else"


def _artifact_pull_tag(lab: Lab) -> str:
    return said(lab.contained("podman", "artifact", "pull", f"{lab.source}:{NEW}"), NO_IMAGE)


def _artifact_extract(lab: Lab) -> str:
    target = lab.place("artifact")
    target.mkdir()
    lab.contain("podman", "artifact", "pull", lab.entry())
    lab.contain("podman", "artifact", "extract", lab.entry(), target)
    (blob,) = target.iterdir()
    return _is_the_disk(lab, blob)


def _pull(tool: str, lab: Lab) -> str:
    return said(lab.contained(tool, "pull", f"{lab.source}:{NEW}"), NO_IMAGE)


def _manifest_inspect(tool: str, lab: Lab) -> str:
    shown = json.loads(lab.contain(tool, "manifest", "inspect", f"{lab.source}:{NEW}"))
    found = {(entry["platform"]["architecture"], entry.get("annotations", {}).get("disktype")) for entry in shown["manifests"]}  # fmt: skip
    wanted = {(architecture, kind) for architecture in ARCHITECTURES for kind in ("applehv", "qemu", "hyperv")}
    return "lists every disk, with platform and `disktype`" if found >= wanted else f"lists {sorted(found, key=str)}"


def _oras_pull(lab: Lab) -> str:
    target = lab.place("oras")
    lab.run("oras", "pull", "--plain-http", "-o", target, lab.entry())
    (blob,) = target.iterdir()
    assert blob.name == "machine.x86_64.applehv.raw.zst"
    return _is_the_disk(lab, blob)


def _oras_pull_platform(lab: Lab) -> str:
    target = lab.place("oras")
    lab.run("oras", "pull", "--plain-http", "--platform", "linux/x86_64", "-o", target, f"{lab.source}:{NEW}")
    (blob,) = target.iterdir()
    return "the first disk of this platform" if blob.name.startswith("machine.x86_64.") else blob.name


def _oras_discover(lab: Lab) -> str:
    shown = lab.run("oras", "discover", "--plain-http", lab.entry())
    return "shows the delta" if "delta" in shown else shown


def _lists_tags(lab: Lab) -> str:
    listed = [
        lab.run("oras", "repo", "tags", "--plain-http", lab.source).split(),
        lab.run("crane", "ls", lab.source).split(),
        json.loads(lab.run("skopeo", "list-tags", f"docker://{lab.source}"))["Tags"],
    ]
    assert all({OLD, NEW} <= set(tags) for tags in listed)
    others = {tag for tag in listed[0] if tag not in {OLD, NEW} and not tag.startswith("sha256-")}
    return f"{len(others)} other tags" if others else VERSIONS


def _raw(lab: Lab) -> str:
    reference = f"{lab.source}:{NEW}"
    digest = lab.run("crane", "digest", reference)
    raw = lab.run("skopeo", "inspect", "--raw", f"docker://{reference}")
    fetched = lab.run("oras", "manifest", "fetch", "--plain-http", reference)
    assert raw == fetched == lab.run("crane", "manifest", reference)
    return "the index" if digest == str(Digest.of(raw.encode())) else digest


def _skopeo_inspect(lab: Lab) -> str:
    return said(lab.attempt("skopeo", "inspect", f"docker://{lab.source}:{NEW}"), NO_IMAGE)


def _skopeo_recompress(lab: Lab) -> str:
    entry, target = lab.entry(), lab.place("dir")
    lab.run("skopeo", "copy", "--dest-compress-format", "zstd:chunked", f"docker://{entry}", f"dir:{target}")
    _, _, digest = lab.blob(entry).partition(":")
    return "the disk, its blob unchanged" if (target / digest).exists() else "another blob"


def _skopeo_v2s2(lab: Lab) -> str:
    done = lab.attempt("skopeo", "copy", "--format", "v2s2", f"docker://{lab.entry()}", f"dir:{lab.place('dir')}")
    return said(done, "unsupported image-specific operation on artifact")


def _crane_validate(lab: Lab) -> str:
    return said(lab.attempt("crane", "validate", "--remote", lab.entry()), "gzip: invalid header")


def _crane_pull(lab: Lab) -> str:
    return said(lab.attempt("crane", "pull", f"{lab.source}:{NEW}", lab.place("tar")), NO_CHILD)


def _crane_blob(lab: Lab) -> str:
    blob = lab.place("blob")
    argv = [*lab.peers.argv("crane"), "blob", f"{lab.source}@{lab.blob(lab.entry())}"]
    with blob.open("wb") as file:
        subprocess.run(argv, stdout=file, check=True, timeout=60)
    return _is_the_disk(lab, blob)


def _container_disk(lab: Lab) -> str:
    """The file that KubeVirt's and CDI's containers see; podman machine finds its own disk beside it."""
    target, archive = f"{lab.fresh()}:5.8", lab.place("export")
    haulout.push(target, lab.new, architecture="x86_64", also=["qemu"], container_disk=True)
    lab.run("crane", "export", "--platform", "linux/amd64", target, archive)
    with tarfile.open(archive) as tar:
        (member,) = [member for member in tar if member.isfile()]
        assert (member.name.split("/")[0], member.uid, member.gid) == ("disk", 107, 107)
        tar.extract(member, lab.folder, filter="data")
    subprocess.run(["qemu-img", "compare", "-q", lab.folder / member.name, lab.new], check=True)
    if haulout.Architecture.here() == "x86_64":
        assert lab.machine_init(f"docker://{target}").code == 0
    return "the disk, in `/disk`"


def _umoci(lab: Lab) -> str:
    tags = lab.run("umoci", "ls", "--layout", lab.layout).split()
    return "lists the versions" if {OLD, NEW} <= set(tags) else f"lists {tags}"


def _signed(lab: Lab) -> tuple[str, Path]:
    """A repository with the new version, and a signature on the index and on every entry; and the public key."""
    repository, keys = f"{lab.server.host}/signed", lab.folder / "keys"
    if not keys.exists():
        keys.mkdir()
        lab.run("cosign", "generate-key-pair", cwd=keys)
        lab.run("oras", "copy", "-r", *_HTTP, f"{lab.source}:{NEW}", f"{repository}:{NEW}")
        pinned = f"{repository}@{lab.run('crane', 'digest', f'{repository}:{NEW}')}"
        key = ("--key", keys / "cosign.key", "--use-signing-config=false", "--tlog-upload=false")
        lab.run("cosign", "sign", "--yes", "--recursive", "--allow-http-registry", *key, pinned)
    return repository, keys / "cosign.pub"


def _verifies(lab: Lab, repository: str, key: Path) -> None:
    """The signatures of the index and of a disk, by cosign."""
    index = f"{repository}@{lab.run('crane', 'digest', f'{repository}:{NEW}')}"
    for signed in (index, lab.entry().replace(lab.source, repository)):
        lab.run("cosign", "verify", "--insecure-ignore-tlog=true", "--allow-http-registry", "--key", key, signed)


def _cosign(lab: Lab) -> str:
    """Sign and verify; then update by delta."""
    repository, key = _signed(lab)
    _verifies(lab, repository, key)
    kept = lab.kept(f"{repository}:{NEW}", ())
    return "works; updates and deltas go on" if kept.endswith("deltas") else kept


def _cosign_copied(lab: Lab) -> str:
    repository, key = _signed(lab)
    by_oras, by_haulout = lab.fresh(), lab.fresh()
    lab.run("oras", "copy", "-r", *_HTTP, f"{repository}:{NEW}", f"{by_oras}:{NEW}")
    haulout.copy(f"{repository}:{NEW}", f"{by_haulout}:{NEW}")
    for copied in (by_oras, by_haulout):
        _verifies(lab, copied, key)
    return "works"


def _haulout_copied(lab: Lab) -> str:
    """podman machine and oras read what `haulout copy` wrote, by way of an archive."""
    archive, target = f"oci-archive:{lab.place('archive')}.tar:{NEW}", lab.fresh()
    haulout.copy(f"{lab.source}:{NEW}", archive)
    haulout.copy(archive, f"{target}:{NEW}")
    assert lab.machine_init(f"docker://{target}:{NEW}").code == 0
    assert "delta" in lab.run("oras", "discover", "--plain-http", lab.entry().replace(lab.source, target))
    return "work"


_IRONIC = """
import json, sys
from ironic.conf import CONF
CONF([], project="ironic", default_config_files=[])
CONF.set_override("permit_fallback_to_http_transport", True, "oci")
from ironic.common.image_service import OciImageService
reference, folder = sys.argv[1:]
for source in ("local", "http"):
    for architecture in ("x86_64", "aarch64"):
        service = OciImageService()
        service.set_image_auth(reference, None)
        found = service.identify_specific_image(reference, source, architecture)
        found["file"] = f"{folder}/{source}-{architecture}"
        with open(found["file"], "wb") as file:
            service.download(found["oci_image_manifest_url"], file)
        print(json.dumps(found))
"""
"""What a conductor does before a deployment: the class and the arguments are those of its own code."""


def _ironic(lab: Lab) -> str:
    """The entry that the page says, and the disk in it."""
    target = lab.place("ironic")
    target.mkdir()
    argv = [ironic(), "-c", _IRONIC, f"oci://{lab.source}:{NEW}", str(target)]
    done = subprocess.run(
        argv, env=os.environ | lab.environment, check=True, capture_output=True, text=True, timeout=SECONDS
    )
    wanted = [(kind, architecture) for kind in ("qemu", "applehv") for architecture in ARCHITECTURES]
    for (kind, architecture), line in zip(wanted, done.stdout.splitlines(), strict=True):
        found = json.loads(line)
        assert found["oci_image_manifest_url"] == f"oci://{lab.entry(architecture, kind)}"
        assert found["image_compression_type"] == "zstd"
        file = Path(found["file"])
        if kind == "applehv":
            assert (found["image_disk_format"], _is_the_disk(lab, file)) == ("raw", "the disk")
            continue
        assert found["image_disk_format"] == "qcow2"
        disk = lab.place("qcow2")
        subprocess.run(["zstd", "-qd", file, "-o", disk], check=True, capture_output=True)
        subprocess.run(["qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", disk, lab.new], check=True)
    return "qcow2 for `local`, raw for `http`, of the processor: the disk"


ROWS = [
    Row("reads", "podman", "`podman machine init --image docker://REF`", _machine, "makes the machine"),
    Row("reads", "podman", "the same, after a second version and for two architectures", _machine_newer, "makes the machine"),
    Row("reads", "podman", "`podman machine init --image FILE`, of a pulled disk", _machine_of_file, "makes the machine"),
    Row("reads", "podman", "`podman manifest inspect`", partial(_manifest_inspect, "podman"), "lists every disk, with platform and `disktype`"),
    Row("reads", "buildah", "`buildah manifest inspect`", partial(_manifest_inspect, "buildah"), "lists every disk, with platform and `disktype`"),
    Row("reads", "podman", "`podman pull`, of disks only", partial(_pull, "podman"), f"exit 125, `{NO_IMAGE}`"),
    Row("reads", "buildah", "`buildah pull`, of disks only", partial(_pull, "buildah"), f"exit 125, `{NO_IMAGE}`"),
    Row("reads", "podman", "`podman artifact pull`", _artifact_pull_tag, f"exit 125, `{NO_IMAGE}`"),
    Row("reads", "podman", "`podman artifact pull`, `extract`, by the entry's digest", _artifact_extract, "the disk"),
    Row("reads", "oras", "`oras pull`, by the entry's digest", _oras_pull, "the disk"),
    Row("reads", "oras", "`oras pull --platform linux/x86_64`", _oras_pull_platform, "the first disk of this platform"),
    Row("reads", "oras", "`oras discover`, by the entry's digest", _oras_discover, "shows the delta"),
    Row("reads", "all", "`oras repo tags`, `crane ls`, `skopeo list-tags`", _lists_tags, VERSIONS),
    Row("reads", "all", "`oras manifest fetch`, `crane manifest`, `skopeo inspect --raw`", _raw, "the index"),
    Row("reads", "skopeo", "`skopeo inspect`", _skopeo_inspect, f"exit 1, `{NO_IMAGE}`"),
    Row("reads", "skopeo", "`skopeo copy --dest-compress-format zstd:chunked`, one entry", _skopeo_recompress, "the disk, its blob unchanged"),
    Row("reads", "skopeo", "`skopeo copy --format v2s2`, one entry", _skopeo_v2s2, "exit 1, `unsupported image-specific operation on artifact`"),
    Row("reads", "crane", "`crane blob`", _crane_blob, "the disk"),
    Row("reads", "crane", "`crane pull`", _crane_pull, f"exit 1, `{NO_CHILD}`"),
    Row("reads", "crane", "`crane validate --remote`, one entry", _crane_validate, "exit 1, `gzip: invalid header`"),
    Row("reads", "crane", "`crane export`, of a tag pushed with `--container-disk`", _container_disk, "the disk, in `/disk`"),
    Row("reads", "umoci", "`umoci ls`", _umoci, "lists the versions"),
    Row("reads", "ironic", "Ironic's image service (`image_source=oci://REF`)", _ironic, "qcow2 for `local`, raw for `http`, of the processor: the disk"),
    Row("reads", "cosign", "`cosign sign --recursive`, `cosign verify`", _cosign, "works; updates and deltas go on"),
    Row("reads", "cosign", "`cosign verify`, after `oras copy -r` and after `haulout copy`", _cosign_copied, "works"),
    Row("reads", "all", "`podman machine init`, `oras discover`, after `haulout copy` through an archive", _haulout_copied, "work"),
]  # fmt: skip

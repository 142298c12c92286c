"""Container disks that we push, in the hands of Debian's skopeo, podman and buildah on a real registry."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.support.cdi import import_from_layout
from tests.support.containers import containers
from tests.support.disks import raw_disk
from tests.support.servers import docker_registry, needs

from haulout.oci import Architecture
from haulout.usecases.lookup import inventory
from haulout.usecases.pull import pull
from haulout.usecases.push import DiskSource, push

pytestmark = [pytest.mark.tools, needs("docker-registry")]
HERE = Architecture.here()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def disks(tmp_path):
    return {
        architecture: raw_disk(tmp_path / f"{architecture}.raw", data_mib=1, size_mib=8, seed=architecture)
        for architecture in (Architecture.X86_64, Architecture.AARCH64)
    }


@pytest.fixture
def registry(tmp_path):
    with docker_registry(tmp_path) as server:
        yield server


@pytest.fixture
def pushed(registry, disks):
    return push(
        f"{registry.host}/machine:5.0", [DiskSource(path, each) for each, path in disks.items()], container_disk=True
    )


@needs("skopeo")
@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_skopeo_copies_the_image_that_cdi_reads(tmp_path, registry, pushed, disks, architecture):
    source = f"docker://{registry.host}/machine:5.0"
    copy = ["skopeo", f"--override-arch={architecture}", "copy", "-q", "--src-tls-verify=false", source]
    subprocess.run([*copy, f"oci:{tmp_path}/layout:it"], check=True)
    found = import_from_layout(tmp_path / "layout", "it", architecture)
    assert (found.data, found.owner) == (disks[Architecture.parse(architecture)].read_bytes(), (107, 107))
    done = pull(f"oci:{tmp_path}/layout:it", architecture=architecture, output=tmp_path / "out")
    assert (done.shape, (tmp_path / "out").read_bytes()) == ("container-disk", found.data)
    assert inventory(f"oci:{tmp_path}/layout:it").shape == "container-disk"


@needs("skopeo")
def test_skopeo_copies_all_of_the_tag(tmp_path, registry, pushed, disks):
    to = f"docker://{registry.host}/copy:5.0"
    flags = ["--all", "--preserve-digests", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"]
    subprocess.run(["skopeo", "copy", *flags, f"docker://{registry.host}/machine:5.0", to], check=True)
    for kind in ("container-disk", "raw"):
        done = pull(f"{registry.host}/copy:5.0", disk_type=kind, output=tmp_path / kind, find_seeds=False)
        assert done.pinned.digest in {each.manifest for each in (*pushed.disks, *pushed.container_disks)}
        assert (tmp_path / kind).read_bytes() == disks[HERE].read_bytes()


@needs("podman", "buildah")
@pytest.mark.parametrize("tool", ["podman", "buildah"])
def test_engines_take_the_image_for_their_processor(tmp_path, monkeypatch, registry, pushed, disks, tool):
    with containers(tmp_path, monkeypatch, registry.host) as both:
        if tool == "podman":
            image = both.run("podman", "pull", "--quiet", f"{registry.host}/machine:5.0")
            container = both.run("podman", "create", image, "none")
            both.run("podman", "cp", f"{container}:/disk/.", tmp_path / "taken")
            (file,) = (tmp_path / "taken").iterdir()
        else:
            container = both.run("buildah", "from", f"{registry.host}/machine:5.0")
            (file,) = (Path(both.run("buildah", "mount", container)) / "disk").iterdir()
            assert (file.stat().st_uid, file.stat().st_gid) == (107, 107)
        assert file.read_bytes() == disks[HERE].read_bytes()


@needs("podman", "buildah")
def test_what_buildah_builds_upon_a_container_disk_is_what_comes(tmp_path, monkeypatch, registry, pushed, disks):
    other = raw_disk(tmp_path / "other.raw", data_mib=1, size_mib=8, seed="other")
    with containers(tmp_path, monkeypatch, registry.host) as both:
        container = both.run("buildah", "from", f"{registry.host}/machine:5.0")
        mounted = Path(both.run("buildah", "mount", container)) / "disk"
        (file,) = mounted.iterdir()
        mounted.chmod(0o755)
        file.unlink()
        both.run("buildah", "copy", container, other, "/disk/other.raw")
        both.run("buildah", "commit", "--quiet", "--format", "oci", container, "built")
        both.run("buildah", "push", "--quiet", "built", f"{registry.host}/built:5.0")
    pull(f"{registry.host}/built:5.0", output=tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == other.read_bytes()

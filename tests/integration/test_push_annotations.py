"""Annotations and further tags of a push, over a registry and a layout."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from tests.support.disks import raw_disk, sha256
from tests.support.servers import docker_registry, needs

import haulout
from haulout import Index, Manifest, Role
from haulout.errors import UsageError
from haulout.places import Places

pytestmark = [needs("docker-registry"), pytest.mark.usefixtures("own_places")]
VENDOR = "org.opencontainers.image.vendor"
SOURCE, REVISION, CREATED = (f"org.opencontainers.image.{name}" for name in ("source", "revision", "created"))


@pytest.fixture(params=["registry", "layout"])
def place(request, tmp_path):
    if request.param == "layout":
        yield f"oci:{tmp_path}/layout"
    else:
        with docker_registry(tmp_path) as server:
            yield f"{server.host}/machines"


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    return raw_disk(tmp_path_factory.mktemp("disk") / "disk.raw", data_mib=1, size_mib=2)


def read(reference):
    """Return the annotations of an index, of its disk's manifest, and of the disk's entry."""
    reference = haulout.parse_reference(reference)
    with Places() as places:
        index = places.root(reference).parse("index")
        assert isinstance(index, Index)
        (item,) = haulout.inventory(reference).disks
        manifest = places.open(reference).manifest(item.descriptor.digest).parse("manifest")
        assert isinstance(manifest, Manifest)
        return dict(index.annotations), dict(manifest.annotations), dict(item.descriptor.annotations)


def test_annotations_go_where_they_are_asked_to_and_a_pull_is_as_before(place, disk, tmp_path):
    asked = {VENDOR: "both", "index:a": "1", "manifest:b": "2=3", "manifest-descriptor:c": "4", "index,manifest:d": "5"}
    haulout.push(f"{place}:1", disk, architecture="x86_64", annotations=asked)
    index, manifest, entry = read(f"{place}:1")
    assert index == {VENDOR: "both", "a": "1", "d": "5"}
    assert {key: manifest[key] for key in (VENDOR, "b", "d")} == {VENDOR: "both", "b": "2=3", "d": "5"}
    assert not {"a", "c"} & manifest.keys()
    assert entry == {"disktype": "applehv", "c": "4"}
    haulout.pull(f"{place}:1", output=tmp_path / "x", architecture="x86_64", disk_type="applehv")
    assert sha256(tmp_path / "x") == sha256(disk)


def test_the_same_again_writes_nothing_and_others_only_manifests(place, disk, tmp_path):
    first = haulout.push(f"{place}:1", disk, architecture="x86_64", annotations={VENDOR: "me"})
    again = haulout.push(f"{place}:1", disk, architecture="x86_64", annotations={VENDOR: "me"})
    assert (again.index, again.disks[0].status) == (first.index, "present")
    assert haulout.push(f"{place}:1", disk, architecture="x86_64").index == first.index
    changed = haulout.push(f"{place}:1", disk, architecture="x86_64", annotations={VENDOR: "you", "x": "y"})
    assert changed.index != first.index
    assert changed.disks[0].blob == first.disks[0].blob
    assert changed.traffic.sent < 20_000
    index, manifest, _ = read(f"{place}:1")
    assert index == {VENDOR: "you", "x": "y"}
    assert (manifest[VENDOR], manifest["x"]) == ("you", "y")
    # One disk, and tables that belong to it.
    roles = [item.role for item in haulout.inventory(f"{place}:1").root.children]
    assert sorted(roles) == sorted([Role.DISK, Role.ATTACHMENT])
    assert haulout.resolve(f"{place}:1", architecture="x86_64", disk_type="applehv").toc is not None
    haulout.pull(f"{place}:1", output=tmp_path / "x", architecture="x86_64", disk_type="applehv")
    assert sha256(tmp_path / "x") == sha256(disk)


def test_further_tags_name_the_same(place, disk):
    done = haulout.push(f"{place}:1.1", disk, architecture="x86_64", tags=["1", "latest", "1"])
    assert done.tags == ("1", "latest")
    assert {each.manifest for each in haulout.tags(place).tags} == {done.index}
    # Another architecture joins: all tags follow.
    more = haulout.push(f"{place}:1.1", disk, architecture="aarch64", tags=["1", "latest"])
    assert {each.manifest for each in haulout.tags(place).tags} == {more.index}
    assert [len(each.disks) for each in haulout.tags(place).tags] == [2, 2, 2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"annotations": {"disktype": "x"}}, "written by haulout"),
        ({"annotations": {"index:io.github.haulout.toc": "x"}}, "written by haulout"),
        ({"annotations": {"": "x"}}, "not the name"),
        ({"annotations": {" a": "x"}}, "not the name"),
        ({"annotations": {"index:": "x"}}, "not the name"),
        *(
            ({"annotations": {f"{target}:a": "x"}}, "not where an annotation can go")
            for target in ("index-descriptor", "manifest[linux/amd64]", "index,index-descriptor", "index, manifest")
        ),
        ({"annotations": {"a\nb": "x"}}, "not the name"),
        ({"annotations": {"a": "\x1b[31m"}}, "control characters"),
        ({"annotations": {"a": "x" * 5000}}, "more than"),
        ({"tags": ["a/b"]}, "not a tag"),
        ({"tags": [f"sha256-{'0' * 64}"]}, "helper"),
        ({"source_from_git": "/"}, "not a git checkout"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is(tmp_path, disk, options, said):
    with pytest.raises(UsageError, match=said):
        haulout.push(f"oci:{tmp_path}/l:1", disk, **options)
    assert not (tmp_path / "l").exists()


def git(folder, *arguments):
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, timeout=30)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    if shutil.which("git") is None:
        pytest.skip("not installed: git")
    for key, value in {
        "GIT_AUTHOR_DATE": "1700000000 +0300",
        "GIT_COMMITTER_DATE": "1700003600 +0300",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "x@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }.items():
        monkeypatch.setenv(key, value)
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "a").write_text("a")
    git(folder, "add", "a")
    git(folder, "commit", "-qm", "a")
    return folder


@pytest.mark.parametrize(
    ("remote", "source"),
    [
        ("https://me:secret@git.example.com:8443/a/b.git?token=x", "https://git.example.com:8443/a/b.git"),
        ("https://git.example.com/a/b.git", "https://git.example.com/a/b.git"),
        ("git@git.example.com:a/b.git", "git@git.example.com:a/b.git"),
        ("ssh://git@[::1]/a/b.git", "ssh://[::1]/a/b.git"),
        (None, None),
    ],
)
def test_the_checkout_says_source_revision_and_date(tmp_path, disk, checkout, remote, source):
    if remote:
        git(checkout, "remote", "add", "origin", remote)
    head = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "HEAD"], check=True, capture_output=True, text=True, timeout=30
    ).stdout.strip()
    place = f"oci:{tmp_path}/l"
    (checkout / "below").mkdir()
    first = haulout.push(f"{place}:1", disk, architecture="x86_64", source_from_git=checkout / "below")
    index, manifest, _ = read(f"{place}:1")
    assert index == {REVISION: head, CREATED: "2023-11-14T23:13:20Z"} | ({SOURCE: source} if source else {})
    assert REVISION not in manifest
    again = haulout.push(f"{place}:1", disk, architecture="x86_64", source_from_git=checkout)
    assert again.index == first.index
    assert haulout.tags(place).tags[0].created is not None
    over = haulout.push(f"{place}:1", disk, source_from_git=checkout, annotations={f"index:{REVISION}": "mine"})
    assert over.index != first.index
    assert read(f"{place}:1")[0][REVISION] == "mine"

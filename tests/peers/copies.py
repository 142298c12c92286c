"""Copies that other tools make of what Haulout pushed: then disks, updates and deltas are pulled from them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tests.peers.lab import NEW, OLD, Lab, Row

import haulout

if TYPE_CHECKING:
    from collections.abc import Callable

REUSED = "all that the next push reuses"
PLAIN = "disks, tables of contents"
ALL = "disks, tables of contents, deltas"
_HTTP = ("--from-plain-http", "--to-plain-http")


def _oras(*options: str) -> Callable[[Lab], str]:
    def does(lab: Lab) -> str:
        target = lab.fresh()
        lab.run("oras", "copy", *options, *_HTTP, f"{lab.source}:{NEW}", f"{target}:{NEW}")
        return lab.kept(f"{target}:{NEW}")

    return does


def _oras_from_layout(lab: Lab) -> str:
    target = lab.fresh()
    lab.run("oras", "copy", "-r", "--from-oci-layout", "--to-plain-http", f"{lab.layout}:{NEW}", f"{target}:{NEW}")
    return lab.kept(f"{target}:{NEW}", ())


def _oras_to_layout(*options: str) -> Callable[[Lab], str]:
    def does(lab: Lab) -> str:
        target = lab.place("layout")
        lab.run(
            "oras", "copy", *options, "--from-plain-http", "--to-oci-layout", f"{lab.source}:{NEW}", f"{target}:{NEW}"
        )
        return lab.kept(f"oci:{target}:{NEW}")

    return does


def _oras_backup(lab: Lab) -> str:
    backup, target = lab.place("backup.tar"), lab.fresh()
    tags = f"{OLD},{NEW}"
    lab.run("oras", "backup", "--plain-http", "--include-referrers", "-o", backup, f"{lab.source}:{tags}")
    lab.run("oras", "restore", "--plain-http", "--input", backup, f"{target}:{tags}")
    return lab.kept(f"{target}:{NEW}")


def _crane_copy(lab: Lab) -> str:
    target = lab.fresh()
    lab.run("crane", "copy", f"{lab.source}:{NEW}", f"{target}:{NEW}")
    return lab.kept(f"{target}:{NEW}")


def _crane_copy_all(lab: Lab) -> str:
    target = lab.fresh()
    # Several jobs write the fallback tags of referrers at once, and now and then fail.
    lab.run("crane", "copy", "--all-tags", "--jobs", "1", lab.source, target)
    return lab.kept(f"{target}:{NEW}")


def _crane_pull(lab: Lab) -> str:
    target = lab.place("layout")
    lab.run("crane", "pull", "--format", "oci", f"{lab.source}:{NEW}", target)
    digest = lab.run("crane", "digest", f"{lab.source}:{NEW}")
    return lab.kept(f"oci:{target}@{digest}")


def _crane_push(lab: Lab) -> str:
    # A layout of one tag: crane pushes whatever is listed there, as one index.
    source, target = lab.place("layout"), lab.fresh()
    lab.run("crane", "pull", "--format", "oci", f"{lab.source}:{NEW}", source)
    lab.run("crane", "push", "--index", source, f"{target}:{NEW}")
    return lab.kept(f"{target}:{NEW}")


def _skopeo(lab: Lab) -> str:
    target = lab.fresh()
    lab.run("skopeo", "copy", "--all", f"docker://{lab.source}:{NEW}", f"docker://{target}:{NEW}")
    return lab.kept(f"{target}:{NEW}")


def _skopeo_to_layout(lab: Lab) -> str:
    target = lab.place("layout")
    lab.run("skopeo", "copy", "--all", f"docker://{lab.source}:{NEW}", f"oci:{target}:{NEW}")
    return lab.kept(f"oci:{target}:{NEW}")


def _skopeo_from_layout(lab: Lab) -> str:
    target = lab.fresh()
    lab.run("skopeo", "copy", "--all", f"oci:{lab.layout}:{NEW}", f"docker://{target}:{NEW}")
    return lab.kept(f"{target}:{NEW}", ())


def _skopeo_sync(lab: Lab) -> str:
    target = lab.fresh()
    lab.run("skopeo", "sync", "--all", "--src", "docker", "--dest", "docker", lab.source, target)
    return lab.kept(f"{target}/machine:{NEW}")


def _manifest(tool: str) -> Callable[[Lab], str]:
    def does(lab: Lab) -> str:
        name, target = f"made-{tool}", lab.fresh()
        lab.contain(tool, "manifest", "create", name)
        lab.contain(tool, "manifest", "add", "--all", name, f"docker://{lab.source}:{NEW}")
        lab.contain(tool, "manifest", "push", "--all", name, f"docker://{target}:{NEW}")
        return lab.kept(f"{target}:{NEW}")

    return does


def _umoci_gc(lab: Lab) -> str:
    target = lab.place("layout")
    shutil.copytree(lab.layout, target)
    lab.run("umoci", "gc", "--layout", target)
    return lab.kept(f"oci:{target}:{NEW}", ())


def _pushed_on(lab: Lab) -> str:
    """A version that is pushed onto a copy of the one before is cut like that one."""
    target = lab.fresh()
    lab.run("crane", "copy", f"{lab.source}:{OLD}", f"{target}:{OLD}")
    (pushed,) = haulout.push(f"{target}:{NEW}", lab.new, architecture="x86_64").disks
    assert lab.pulls(f"{target}:{NEW}", seeds=[lab.old]).moved.fetched < pushed.blob.size / 2
    return (
        REUSED
        if pushed.base and pushed.base.bytes > pushed.blob.size / 2
        else f"the next push has the base {pushed.base}"
    )


ROWS = [
    Row("copies", "oras", "`oras copy`", _oras(), PLAIN),
    Row("copies", "oras", "`oras copy -r`", _oras("-r"), ALL),
    Row("copies", "oras", "`oras copy --to-oci-layout`", _oras_to_layout(), PLAIN),
    Row("copies", "oras", "`oras copy -r --to-oci-layout`", _oras_to_layout("-r"), ALL),
    Row("copies", "oras", "`oras copy -r --from-oci-layout`", _oras_from_layout, ALL),
    Row("copies", "oras", "`oras backup --include-referrers`, `restore`", _oras_backup, ALL),
    Row("copies", "crane", "`crane copy`", _crane_copy, PLAIN),
    Row("copies", "crane", "`crane copy` of one version, then `haulout push` of the next", _pushed_on, REUSED),
    Row("copies", "crane", "`crane copy --all-tags --jobs 1`", _crane_copy_all, ALL),
    Row("copies", "crane", "`crane pull --format oci`", _crane_pull, PLAIN),
    Row("copies", "crane", "`crane push --index`", _crane_push, PLAIN),
    Row("copies", "skopeo", "`skopeo copy --all`", _skopeo, PLAIN),
    Row("copies", "skopeo", "`skopeo copy --all`, into a layout", _skopeo_to_layout, PLAIN),
    Row("copies", "skopeo", "`skopeo copy --all`, from a layout", _skopeo_from_layout, PLAIN),
    Row("copies", "skopeo", "`skopeo sync --all`", _skopeo_sync, ALL),
    Row("copies", "podman", "`podman manifest add --all`, `push --all`", _manifest("podman"), PLAIN),
    Row("copies", "buildah", "`buildah manifest add --all`, `push --all`", _manifest("buildah"), PLAIN),
    Row("copies", "umoci", "`umoci gc`", _umoci_gc, ALL),
]

"""Trees for images."""

from __future__ import annotations

from tests.support.rootfs import Builder

from haulout import rootfs


def tree_of(children, builder=None, **attributes) -> rootfs.Tree:
    return (builder or Builder()).tree(rootfs.Directory(**({"mode": 0o755} | attributes), children=children))

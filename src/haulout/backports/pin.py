"""What a consumer pins and vendors of the library. Files are compared by blob ids: equal ones are not read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from haulout.backports import history
from haulout.backports.git import decode
from haulout.backports.gomod import GoMod, Version
from haulout.backports.naming import modules_in
from haulout.backports.objects import MissingObject, ScratchObjects
from haulout.backports.trees import TREE, Entry
from haulout.documents import Document
from haulout.errors import NotFoundError

if TYPE_CHECKING:
    from haulout.backports.repository import Repository

_LONGEST: Final = 200_000
"""Characters of a patch shown."""


@dataclass(frozen=True, slots=True)
class Pin(Document):
    """A module at a version, and the commit of that version."""

    json_members = ("required", "replaced", "version=version.text", "commit")

    module: str
    required: str
    """The version that is asked for."""
    version: Version
    """The one that counts, after replacement."""
    commit: str | None
    """None: not in this clone."""
    folder: str = ""
    """Where in the library the module is, with a slash at the end; "": at the top."""
    replaced: str | None = None
    """What replaces it, as written in go.mod."""
    local: bool = False
    """A folder of the consumer's replaces it."""
    fork: bool = False
    """Another module replaces it."""

    @property
    def tag(self) -> str | None:
        """The tag, as the library has it."""
        return f"{self.folder}{self.version.tag}" if self.version.tag else None

    @property
    def shown(self) -> str:
        """As go.mod has it."""
        return self.required + (f" => {self.replaced}" if self.replaced else "")

    def mismatch(self, repository: Repository) -> str | None:
        """Return how a pseudo-version contradicts its commit, or None."""
        if self.commit is None or self.version.commit is None:
            return None
        commit = history.commits(repository, [self.commit])[0]
        when = datetime.fromtimestamp(commit.committed, UTC)
        if when != self.version.time:
            stated = self.version.time
            return f"{self.version.text} has {stated:%Y-%m-%d %H:%M:%S}, its commit {when:%Y-%m-%d %H:%M:%S} UTC"
        if self.version.base is not None:
            base = repository.tags().get(f"{self.folder}{self.version.base}")
            if base is None:
                return None if repository.shallow else f"there is no tag {self.folder}{self.version.base}"
            if not repository.is_ancestor(base, self.commit):
                return f"{self.version.base} is not in the history of {self.commit[:12]}"
        return None


def gomod_at(consumer: Repository, commit: str, name: str) -> GoMod:
    """Return the go.mod of a consumer at a commit, which a person calls ``name``.

    Raises:
        NotFoundError: there is none.
    """
    raw = consumer.show(commit, "go.mod")
    if raw is None:
        raise NotFoundError(f"no go.mod in {consumer.path} at {name}")
    return GoMod.parse(decode(raw))


def find_pin(repository: Repository, gomod: GoMod, module: str) -> Pin:
    """Return what a go.mod pins of a module it requires."""
    required = gomod.required(module)
    assert required is not None
    folder = module_folder(repository, module)
    replace = gomod.replacement(module, required.version)
    text, replaced, local, fork = required.version, None, False, False
    if replace is not None:
        replaced = replace.new + (f" {replace.new_version}" if replace.new_version else "")
        local, fork = replace.local, not replace.local and replace.new != module
        text = replace.new_version or required.version
    version = Version.parse(text)
    commit = None
    if not local:
        if version.commit is not None:
            commit = repository.find(version.commit)
        else:
            commit = repository.tags().get(f"{folder}{version.tag}")
            if commit is None:
                commit = repository.tags().get(str(version.tag))
    return Pin(module, required.version, version, commit, folder, replaced, local, fork)


def module_folder(repository: Repository, module: str) -> str:
    """Return where in the library a module is: "" at the top, else with a slash at the end."""
    with repository.scratch_objects() as objects:
        tree = objects.commit(repository.mainline().tip).tree
        return next((folder for folder, declared in modules_in(objects, tree) if declared == module), "")


@dataclass(frozen=True, slots=True)
class Vendored(Document):
    """The files below ``vendor/MODULE``."""

    files: int
    same: int
    patched: tuple[str, ...]
    """Files that differ from the library's."""
    extra: tuple[str, ...]
    """Files that the library does not have there."""
    patch: str
    """The differences, as a patch against the library."""


def modules_text(objects: ScratchObjects, tree: str) -> str | None:
    """Return vendor/modules.txt, or None."""
    entry = objects.at(tree, f"{history.VENDOR}/modules.txt")
    return None if entry is None else decode(objects.read(entry.oid))


def compare_vendored(objects: ScratchObjects, tree: str, pin: Pin) -> Vendored | None:
    """Compare; None: the library's tree is not in this clone.

    What ``go mod vendor`` leaves out (tests, unused packages) is not a difference. A licence that it takes from
    the top of the repository, for a module in a folder, is looked for there.
    """
    assert pin.commit is not None
    below = objects.folder(tree, f"{history.VENDOR}/{pin.module}")
    if below is None:
        return Vendored(0, 0, (), (), "")
    try:
        top = objects.commit(pin.commit).tree
        of = objects.folder(top, pin.folder.rstrip("/"))
        if of is None:
            return None
        nested = _nested(objects, of)
        own: dict[str, Entry] = {}
        theirs: dict[str, Entry] = {}
        extra, same = [], 0
        for path, entry in objects.files(below):
            original = objects.at(of, path)
            if original is None and "/" not in path:
                original = objects.at(top, path)
            if original is None or any(path.startswith(folder) for folder in nested):
                extra.append(path)
            elif original.oid == entry.oid and original.mode == entry.mode:
                same += 1
            else:
                own[path], theirs[path] = original, entry
    except MissingObject:
        return None
    patch = _patch(objects, own, theirs) if own else ""
    return Vendored(same + len(own) + len(extra), same, tuple(own), tuple(extra), patch)


def _nested(objects: ScratchObjects, tree: str) -> list[str]:
    """Return the folders below that are modules of their own; their files are vendored elsewhere."""
    found = []
    for name, entry in objects.entries(tree).items():
        if entry.mode == TREE and name != history.VENDOR and objects.at(entry.oid, "go.mod") is not None:
            found.append(f"{name}/")
    return found


def _patch(objects: ScratchObjects, own: dict[str, Entry], theirs: dict[str, Entry]) -> str:
    trees = objects.write_tree(own), objects.write_tree(theirs)
    plain = ("--no-ext-diff", "--no-textconv", "--no-renames")
    return decode(objects.git.run("diff-tree", "-r", "--patch", *plain, *trees).out)[:_LONGEST]

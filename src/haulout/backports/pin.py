"""Which commit of the library a go.mod pins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from haulout.backports import history
from haulout.backports.gomod import Version

if TYPE_CHECKING:
    from haulout.backports.gomod import GoMod
    from haulout.backports.repository import Repository


@dataclass(frozen=True, slots=True)
class Pin:
    """A module at a version, and the commit that is."""

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
    """What takes its place, as written in go.mod."""
    local: bool = False
    """A folder of the consumer's takes its place."""
    fork: bool = False
    """Another module takes its place."""

    @property
    def tag(self) -> str | None:
        """The tag, as the library has it."""
        return f"{self.folder}{self.version.tag}" if self.version.tag else None

    @property
    def shown(self) -> str:
        """As go.mod has it."""
        return self.required + (f" => {self.replaced}" if self.replaced else "")

    def wrong(self, repository: Repository) -> str | None:
        """Return what a pseudo-version says wrongly of its commit, or None."""
        if self.commit is None or self.version.commit is None:
            return None
        commit = history.commits(repository, [self.commit])[0]
        when = datetime.fromtimestamp(commit.committed, UTC)
        if when != self.version.time:
            said = self.version.time
            return f"{self.version.text} says {said:%Y-%m-%d %H:%M:%S}, the commit {when:%Y-%m-%d %H:%M:%S} UTC"
        if self.version.base is not None:
            base = repository.tags().get(f"{self.folder}{self.version.base}")
            if base is None:
                return None if repository.shallow else f"there is no tag {self.folder}{self.version.base}"
            if not repository.is_ancestor(base, self.commit):
                return f"{self.version.base} is not in the history of {self.commit[:12]}"
        return None


def find_pin(repository: Repository, gomod: GoMod, module: str) -> Pin:
    """Return what a go.mod pins of a module it requires."""
    required = gomod.required(module)
    assert required is not None
    folder = module_folder(repository, module)
    replace = gomod.replacement(module, required.version)
    text, said, local, fork = required.version, None, False, False
    if replace is not None:
        said = replace.new + (f" {replace.new_version}" if replace.new_version else "")
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
    return Pin(module, required.version, version, commit, folder, said, local, fork)


def module_folder(repository: Repository, module: str) -> str:
    """Return where in the library a module is: "" at the top, else with a slash at the end."""
    from haulout.backports import library  # noqa: PLC0415
    from haulout.backports.git import decode  # noqa: PLC0415

    with repository.bench() as bench:
        tree = bench.commit(repository.mainline().tip).tree
        for path, entry in bench.files(tree):
            if path.rpartition("/")[2] != "go.mod" or path.startswith(f"{history.VENDOR}/"):
                continue
            if bench.has(entry.oid) and library.module(decode(bench.read(entry.oid))) == module:
                return path.removesuffix("go.mod")
    return ""

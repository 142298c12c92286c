"""How files are merged on a branch, by the attribute ``merge`` of its ``.gitattributes``.

Git asks the attributes of what is checked out, those of the clone (``info/attributes``) and the user's. Most branches
have none that matter, and cost nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.backports.git import Git, decode, encode
from haulout.backports.objects import MissingObject, ScratchObjects
from haulout.backports.trees import SYMLINK, TREE
from haulout.local import private_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from haulout.backports.repository import Repository

_FILE: Final = ".gitattributes"
USUAL: Final = ""
UNION: Final = "union"
"""Both sides' lines are taken; there is never a conflict."""
WHOLE: Final = "binary"
"""One side or the other; where both changed, it is a conflict."""
_BUILT_IN: Final = {"unspecified": USUAL, "set": USUAL, "text": USUAL, "unset": WHOLE, WHOLE: WHOLE, UNION: UNION}
_DRIVER: Final = "driver "


def driver(how: str) -> str | None:
    """Return the name of the user's own merge driver that merges a file, or None. Pure."""
    return how.removeprefix(_DRIVER) if how.startswith(_DRIVER) else None


_Files = tuple[tuple[str, str], ...]
"""Files of attributes: the folder of each, with a slash at its end, and the blob."""


@dataclass(slots=True)
class Attributes:
    """Finds how files are merged; remembers what it found."""

    repository: Repository
    objects: ScratchObjects
    _rules: _Rules = field(init=False)
    _known: dict[tuple[_Files, str], str] = field(default_factory=dict)
    _of_folder: dict[tuple[str, str], _Files] = field(default_factory=dict)
    _sets: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rules = _Rules(self.repository)

    def ways(self, tree: str, paths: Iterable[str]) -> dict[str, str]:
        """Return how files are merged on a branch: :data:`USUAL`, :data:`UNION`, :data:`WHOLE`, or by a driver.

        Args:
            tree: the branch's root tree.
            paths: of the files.

        Raises:
            MissingObject: a tree is not in this clone.
        """
        files = {path: self._files(tree, path.rpartition("/")[0]) for path in paths}
        if not self._rules.everywhere and not any(files.values()):
            return dict.fromkeys(files, self._rules.way("unspecified"))
        for rules in set(files.values()):
            some = [path for path, found in files.items() if found == rules and (rules, path) not in self._known]
            if some:
                found = self._ask(rules, some) if rules or self._rules.everywhere else ["unspecified"] * len(some)
                self._known |= {(rules, path): self._rules.way(one) for path, one in zip(some, found, strict=True)}
        return {path: self._known[rules, path] for path, rules in files.items()}

    def _files(self, tree: str, folder: str) -> _Files:
        """Return the attribute files that apply in a folder and set how to merge: folder and blob."""
        if (tree, folder) not in self._of_folder:
            self._of_folder[tree, folder] = tuple(self._find(tree, folder))
        return self._of_folder[tree, folder]

    def _find(self, tree: str, path: str) -> list[tuple[str, str]]:
        found = []
        folder = ""
        for name in ("", *(path.split("/") if path else ())):
            if name:
                entry = self.objects.entries(tree).get(name)
                if entry is None or entry.mode != TREE:
                    break
                tree, folder = entry.oid, f"{folder}{name}/"
            rules = self.objects.entries(tree).get(_FILE)
            if rules is not None and rules.mode not in {TREE, SYMLINK} and self._sets_merge(rules.oid):
                found.append((folder, rules.oid))
        return found

    def _sets_merge(self, oid: str) -> bool:
        if oid not in self._sets:
            try:
                content = self.objects.read(oid)
            except MissingObject:
                content = b""
            # "binary" is a macro for, among others, -merge.
            self._sets[oid] = b"merge" in content or b"binary" in content
        return self._sets[oid]

    def _ask(self, files: _Files, paths: Sequence[str]) -> list[str]:
        with private_folder("haulout-attributes-") as made:
            for folder, oid in files:
                place = made / folder / _FILE
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(self.objects.read(oid))
            # The clone's own settings and info/attributes, but neither its index nor its work tree.
            variables = {
                "GIT_DIR": str(self.repository.common),
                "GIT_WORK_TREE": str(made),
                "GIT_INDEX_FILE": str(made / ".none"),
            }
            git = Git(made, {**self.repository.git.variables, **variables})
            answer = git.run("check-attr", "-z", "--stdin", "merge", stdin=encode("\0".join([*paths, ""]))).out
        # "<path> NUL merge NUL <value> NUL", for each.
        return decode(answer).split("\0")[2::3]


@dataclass(frozen=True)
class _Rules:
    """The settings of the clone and of the user, for all branches."""

    repository: Repository

    @cached_property
    def _settings(self) -> dict[str, str]:
        done = self.repository.git.run(
            "config", "-z", "--get-regexp", r"^(merge\..*\.driver|merge\.default|core\.attributesfile)$", ok=(0, 1)
        )
        pairs = (one.partition("\n") for one in done.fields)
        return {name: value for name, _, value in pairs}

    @cached_property
    def everywhere(self) -> bool:
        """Whether there may be attributes outside of branches."""
        if "core.attributesfile" in self._settings or (self.repository.common / "info" / "attributes").is_file():
            return True
        home = self.repository.git.variables.get("HOME", "")
        place = self.repository.git.variables.get("XDG_CONFIG_HOME", "") or f"{home}/.config"
        return Path(place, "git", "attributes").is_file() or Path("/etc/gitattributes").is_file()

    def way(self, value: str) -> str:
        """Return what a value of the attribute comes to."""
        if value == "unspecified":
            value = self._settings.get("merge.default", value)
        if f"merge.{value}.driver" in self._settings:
            return f"{_DRIVER}{value}"
        return _BUILT_IN.get(value, USUAL)

"""Files by which a user's session starts programs: units of systemd's user manager, and launchd's agents on macOS."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.errors import ToolError
from haulout.local import home_of, replace_file, run, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_SECONDS: Final = 20.0
_PASSED_ON: Final = ("PATH", "XDG_DATA_HOME", "XDG_CACHE_HOME")
"""Variables without which another data folder or no QEMU would be found: a session's start knows few."""

_REGISTRIES: Final = {"XDG_CONFIG_HOME", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "CONTAINERS_REGISTRIES_CONF"}
_PROXIES: Final = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}


def is_launchd() -> bool:
    """Return whether launchd reads the files, and not systemd."""
    return sys.platform == "darwin"


def folder() -> Path:
    """Return where this user's units or agents are."""
    home = home_of(os.environ)
    if is_launchd():
        return home / "Library/LaunchAgents"
    return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "systemd/user"


def environment(*, registries: bool = False) -> dict[str, str]:
    """Return the variables that a program which a session starts has to get.

    Args:
        registries: whether it has to reach them as this process does. A proxy whose URL may hold a password is left
            out: units are no place for secrets.
    """
    found = {key: os.environ[key] for key in _PASSED_ON if os.environ.get(key)}
    if registries:
        wanted = {key: text for key, text in os.environ.items() if key in _REGISTRIES or key.lower() in _PROXIES}
        found |= {key: text for key, text in sorted(wanted.items()) if text and "@" not in text}
    return found


def program() -> list[str]:
    """Return what runs this very haulout: by a name on the search path that leads here, since it outlives upgrades."""
    found, ours = shutil.which("haulout"), Path(sys.executable).with_name("haulout")
    if found is not None and ours.exists() and Path(found).resolve() == ours.resolve():
        return [os.path.abspath(found)]  # noqa: PTH100 - keeps the link, which the next version moves
    return [sys.executable, "-P", "-m", "haulout"]


def require_reader(hint: str) -> None:
    """Check that somebody reads the files.

    Raises:
        ToolError: this host has neither launchd nor systemd.
    """
    if not is_launchd() and shutil.which("systemctl") is None:
        raise ToolError("systemctl", "is not installed", hint=hint)


def write(files: Mapping[Path, bytes], link: Path | None) -> bool:
    """Write files, and return whether that changed anything.

    Args:
        files: paths and contents; the last is what ``link`` leads to.
        link: by which systemd starts it; launchd needs none.

    Raises:
        StorageError: one cannot be written.
    """
    for path in files:
        last = path
    with storage_errors(last, doing="cannot be written"):
        linked = link is None or link.is_symlink()
        if linked and all(path.exists() and path.read_bytes() == made for path, made in files.items()):
            return False
        for path, made in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, made)
        if link is not None and not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(last)
    reload()
    return True


def remove(paths: Iterable[Path | None]) -> bool:
    """Remove files and links, and return whether one was there.

    Raises:
        StorageError: one cannot be removed.
    """
    there = [path for path in paths if path is not None and (path.exists() or path.is_symlink())]
    for path in there:
        with storage_errors(path, doing="cannot be removed"):
            path.unlink(missing_ok=True)
    if there:
        reload()
    return bool(there)


def command(words: Sequence[str]) -> str:
    """Return a command line for a unit. Pure."""
    if set(words[0]) & set("\"'\\"):
        # systemd refuses such a program, but not such an argument.
        words = ["/bin/sh", "-c", 'exec "$@"', "haulout", *words]
    # The colon: no variables are put in (systemd.service(5)).
    return ":" + " ".join(map(_quoted, words))


def words_of(line: str) -> list[str]:
    """Return the words of a command line of ours, but for control characters, which stay escaped. Pure.

    Raises:
        ValueError: it is not one.
    """
    return [word.replace("%%", "%") for word in shlex.split(line.removeprefix(":"))]


def variables(values: Mapping[str, str]) -> list[str]:
    """Return the lines of a unit that set variables. Pure."""
    return [f"Environment={_quoted(f'{key}={value}')}" for key, value in values.items()]


def _quoted(word: str) -> str:
    """Quote a word for a unit: systemd.syntax(7), and "%" as systemd.unit(5) wants it."""
    escaped = "".join(
        f"\\{each}" if each in '\\"' else f"\\x{ord(each):02x}" if each < " " or each == "\x7f" else each
        for each in word
    )
    return f'"{escaped.replace("%", "%%")}"'


def reload() -> None:
    """Tell a user manager that runs; one that begins later reads its files anyway."""
    tell("daemon-reload")


def tell(*words: str) -> bool:
    """Give a user manager that runs an order, and return whether it was carried out."""
    if is_launchd() or shutil.which("systemctl") is None:
        return False
    try:
        return run(["systemctl", "--user", *words], seconds=_SECONDS).code == 0
    except ToolError:
        return False

"""registries.conf, version 2: mirrors, rewritten locations, blocked and insecure registries.

Read as containers/image does (containers-registries.conf(5)). Rewriting and mirrors serve reading only: what is pushed
goes where the reference says.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from haulout.errors import DeniedError, UsageError
from haulout.local import home_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from haulout.oci import RegistryReference

MAX_FILE: Final = 4 * 1024 * 1024
_PULLS: Final = {"": "all", "all": "all", "digest-only": "digest-only", "tag-only": "tag-only"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place to ask for a repository."""

    host: str
    repository: str
    insecure: bool = False
    """Accept any certificate, or plain HTTP: a file of the machine says so."""
    is_mirror: bool = False
    pull_from: str = "all"
    """``all``, ``digest-only`` or ``tag-only``."""

    def serves(self, *, digest: bool) -> bool:
        """Whether it may be asked for a digest, or for a tag."""
        return self.pull_from in {"all", "digest-only" if digest else "tag-only"}


@dataclass(frozen=True, slots=True)
class Mirror:
    """A ``[[registry.mirror]]``."""

    location: str
    insecure: bool
    pull_from: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A ``[[registry]]``."""

    prefix: str
    location: str
    insecure: bool = False
    blocked: bool = False
    mirrors: tuple[Mirror, ...] = ()


@dataclass(frozen=True, slots=True)
class RegistriesConfig:
    """Every rule that counts on this machine."""

    rules: tuple[Rule, ...] = ()
    credential_helpers: tuple[str, ...] = ("containers-auth.json",)

    def rule_for(self, name: str) -> tuple[Rule, int] | None:
        """Find the rule with the longest matching prefix.

        Args:
            name: ``host[:port]/repository``.

        Returns:
            The rule, and how many characters of ``name`` its prefix covers.
        """
        best: tuple[Rule, int] | None = None
        for rule in self.rules:
            length = match_prefix(name, rule.prefix)
            if length > (best[1] if best else 0):
                best = rule, length
        return best

    def endpoints(self, reference: RegistryReference, action: Literal["pull", "push"]) -> tuple[Endpoint, ...]:
        """Say where to ask, in order.

        Raises:
            DeniedError: the registry is blocked here.
            UsageError: rewriting gives no usable name.
        """
        found = self.rule_for(reference.name)
        if found is None:
            return (Endpoint(reference.host, reference.repository),)
        rule, length = found
        if rule.blocked:
            raise DeniedError(
                f"{reference.name} is blocked by registries.conf (prefix {rule.prefix!r})",
                hint="look into /etc/containers/registries.conf* and ~/.config/containers/registries.conf*",
            )
        if action == "push":
            return (Endpoint(reference.host, reference.repository, rule.insecure),)
        rest = reference.name[length:]
        mirrors = [
            _endpoint(mirror.location + rest, mirror.insecure, is_mirror=True, pull_from=mirror.pull_from)
            for mirror in rule.mirrors
        ]
        location = reference.name if not rule.location else rule.location + rest
        return (*mirrors, _endpoint(location, rule.insecure))


def match_prefix(name: str, prefix: str) -> int:
    """Return how many characters of ``name`` a prefix covers, 0 where it does not match.

    A prefix ends where a path component, a port or a tag begins; ``*.example.com`` stands for any subdomain.
    """
    if prefix.startswith("*."):
        at = name.find(prefix[1:])
        if at < 1 or "/" in name[:at]:
            return 0
        end = at + len(prefix) - 1
    elif name.startswith(prefix):
        end = len(prefix)
    else:
        return 0
    return end if end == len(name) or name[end] in ":/@" else 0


def load_config(environment: Mapping[str, str], system: Path = Path("/etc/containers")) -> RegistriesConfig:
    """Read the configuration of this machine and user; absent files are empty.

    Args:
        environment: for CONTAINERS_REGISTRIES_CONF, XDG_CONFIG_HOME and HOME.
        system: where the administrator's files are.

    Raises:
        UsageError: a file cannot be read or understood; names it.
    """
    home = home_of(environment)
    user = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "containers"
    explicit = environment.get("CONTAINERS_REGISTRIES_CONF")
    if explicit:
        main = Path(explicit)
        if not main.exists():
            raise UsageError(f"CONTAINERS_REGISTRIES_CONF names {main}, which is not there")
    else:
        main = user / "registries.conf" if (user / "registries.conf").exists() else system / "registries.conf"
    files = [main]
    for directory in (system / "registries.conf.d", user / "registries.conf.d"):
        try:
            files += sorted(path for path in directory.iterdir() if path.suffix == ".conf")
        except OSError:
            # Absent, or not for this user to see: containers/image ignores it too.
            continue
    return _merge(_read(file) for file in files)


def _merge(documents: Iterable[RegistriesConfig]) -> RegistriesConfig:
    rules: dict[str, Rule] = {}
    helpers: tuple[str, ...] = RegistriesConfig().credential_helpers
    for document in documents:
        # A later file replaces a whole rule; helpers are replaced only where it names any.
        rules |= {rule.prefix: rule for rule in document.rules}
        helpers = document.credential_helpers or helpers
    return RegistriesConfig(tuple(rules.values()), helpers)


def _read(file: Path) -> RegistriesConfig:
    try:
        with file.open("rb") as stream:
            text = stream.read(MAX_FILE + 1)
    except FileNotFoundError:
        return RegistriesConfig(credential_helpers=())
    except OSError as exc:
        raise UsageError(f"{file} cannot be read: {exc.strerror}") from exc
    if len(text) > MAX_FILE:
        raise UsageError(f"{file} is larger than {MAX_FILE} bytes")
    try:
        document = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"{file} is not TOML: {exc}") from exc
    return _parse(document, file)


def _parse(document: Mapping[str, Any], file: Path) -> RegistriesConfig:
    if isinstance(document.get("registries"), dict):
        raise UsageError(
            f"{file} has the old format 1", hint="write [[registry]] tables: containers-registries.conf(5)"
        )
    helpers = document.get("credential-helpers", [])
    if not isinstance(helpers, list) or not all(isinstance(one, str) for one in helpers):
        raise UsageError(f"{file}: credential-helpers must be a list of strings")
    rules = tuple(
        _rule(table, f"{file}: registry {n + 1}") for n, table in enumerate(_tables(document, "registry", str(file)))
    )
    return RegistriesConfig(rules, tuple(helpers))


def _rule(table: Mapping[str, Any], where: str) -> Rule:
    prefix, location = _string(table, "prefix", where), _string(table, "location", where)
    if not prefix and not location:
        raise UsageError(f"{where} has neither prefix nor location")
    if not prefix.startswith("*."):
        location = location or prefix
    digest_only = _flag(table, "mirror-by-digest-only", where)
    mirrors = []
    for number, mirror in enumerate(_tables(table, "mirror", where)):
        at = f"{where}, mirror {number + 1}"
        place = _string(mirror, "location", at)
        pull_from = _PULLS.get(_string(mirror, "pull-from-mirror", at))
        if not place or pull_from is None:
            raise UsageError(f"{at}: location is missing, or pull-from-mirror is not all, digest-only or tag-only")
        mirrors.append(Mirror(place, _flag(mirror, "insecure", at), "digest-only" if digest_only else pull_from))
    return Rule(
        prefix or location, location, _flag(table, "insecure", where), _flag(table, "blocked", where), tuple(mirrors)
    )


def _tables(table: Mapping[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise UsageError(f"{where}: {key} must be written [[{key}]]")
    return found


def _string(table: Mapping[str, Any], key: str, where: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise UsageError(f"{where}: {key} must be a string")
    return value.strip().rstrip("/").removeprefix("https://").removeprefix("http://")


def _flag(table: Mapping[str, Any], key: str, where: str) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise UsageError(f"{where}: {key} must be true or false")
    return value


def _endpoint(name: str, insecure: bool, *, is_mirror: bool = False, pull_from: str = "all") -> Endpoint:  # noqa: FBT001
    host, slash, repository = name.partition("/")
    if not slash or not host or not repository:
        raise UsageError(f"registries.conf rewrites the reference to {name!r}, which names no repository")
    return Endpoint(host.lower(), repository, insecure, is_mirror, pull_from)

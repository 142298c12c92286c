"""registries.conf, version 2: mirrors, rewritten locations, blocked and insecure registries.

Read as containers/image does (containers-registries.conf(5)). Rewriting and mirrors serve reading only: what is pushed
goes where the reference says.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from haulout.errors import DeniedError, InvalidFile, UsageError
from haulout.local import home_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from haulout.local import Table
    from haulout.oci import RegistryReference

MAX_FILE: Final = 4 * 1024 * 1024
_LONGEST: Final = 1000
"""Characters of a location."""
_PULLS: Final = {"": "all", "all": "all", "digest-only": "digest-only", "tag-only": "tag-only"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place to ask for a repository."""

    host: str
    repository: str
    insecure: bool = False
    """Accept any certificate, or plain HTTP, as a file of the machine allows."""
    is_mirror: bool = False
    pull_from: str = "all"
    """``all``, ``digest-only`` or ``tag-only``."""

    def serves(self, *, digest: bool) -> bool:
        """Return whether it may be asked for a digest, or for a tag."""
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
        """Return where to ask, in order.

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
                hint="see /etc/containers/registries.conf* and ~/.config/containers/registries.conf*",
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
        InvalidFile: a file cannot be read or understood.
    """
    home = home_of(environment)
    user = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "containers"
    explicit = environment.get("CONTAINERS_REGISTRIES_CONF")
    if explicit:
        main = Path(explicit)
        if not main.exists():
            raise UsageError(f"CONTAINERS_REGISTRIES_CONF names {main}, which does not exist")
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
            data = stream.read(MAX_FILE + 1)
    except FileNotFoundError:
        return RegistriesConfig(credential_helpers=())
    except OSError as exc:
        raise InvalidFile(file, f"cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_FILE:
        raise InvalidFile(file, f"is larger than {MAX_FILE} bytes")
    from haulout.local import parse_toml, wrong_file  # noqa: PLC0415 - most machines have no such file

    try:
        text = data.decode()
    except UnicodeDecodeError as exc:
        raise InvalidFile(file, f"is not TOML: {exc}") from exc
    return _parse(parse_toml(text, wrong_file(file)))


def _parse(document: Table) -> RegistriesConfig:
    # Keys that are not asked for are other tools' business.
    if isinstance(document.take("registries"), dict):
        hint = "write [[registry]] tables: containers-registries.conf(5)"
        raise document.wrong("", "has the old format 1", hint=hint)
    rules = tuple(_rule(table) for table in document.tables("registry"))
    return RegistriesConfig(rules, document.texts("credential-helpers"))


def _rule(table: Table) -> Rule:
    prefix, location = _location(table, "prefix"), _location(table, "location")
    if not prefix and not location:
        raise table.wrong("", "has neither prefix nor location")
    if not prefix.startswith("*."):
        location = location or prefix
    digest_only = table.flag("mirror-by-digest-only", default=False)
    mirrors = tuple(_mirror(mirror, digest_only=digest_only) for mirror in table.tables("mirror"))
    insecure, blocked = table.flag("insecure", default=False), table.flag("blocked", default=False)
    return Rule(prefix or location, location, insecure, blocked, mirrors)


def _mirror(table: Table, *, digest_only: bool) -> Mirror:
    location = _location(table, "location")
    if not location:
        raise table.wrong("location", "is missing")
    pull_from = _PULLS.get(table.text("pull-from-mirror", ""))
    if pull_from is None:
        raise table.wrong("pull-from-mirror", "is not all, digest-only or tag-only")
    return Mirror(location, table.flag("insecure", default=False), "digest-only" if digest_only else pull_from)


def _location(table: Table, key: str) -> str:
    value = table.text(key, "", longest=_LONGEST)
    return value.strip().rstrip("/").removeprefix("https://").removeprefix("http://")


def _endpoint(name: str, insecure: bool, *, is_mirror: bool = False, pull_from: str = "all") -> Endpoint:  # noqa: FBT001
    host, slash, repository = name.partition("/")
    if not slash or not host or not repository:
        raise UsageError(f"registries.conf rewrites the reference to {name!r}, which is not a repository name")
    return Endpoint(host.lower(), repository, insecure, is_mirror, pull_from)

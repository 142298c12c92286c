"""Policies: what evidence has to say to be accepted. TOML, every key known; docs/evidence.md has them all.

What a policy does not mention is decided strictly (debugging is refused) or left open (any measurement), never
guessed; the verdict names what was left open. An empty policy accepts nothing: a TEE is accepted where its table is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from haulout.errors import InvalidPolicy
from haulout.local import parse_toml
from haulout.tee.inputs import Policy
from haulout.tee.kinds import KINDS, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from haulout.local import Table

SCHEMA: Final = 1
MAX_BYTES: Final = 1 << 20


def parse_policy(data: bytes, what: str = "policy", *, kinds: Iterable[Kind[Any, Any, Any]] = KINDS) -> Policy:
    """Read a policy.

    Args:
        data: TOML.
        what: its file's name, for the error.
        kinds: the kinds of TEE that it may have a section about.

    Raises:
        InvalidPolicy: it is not TOML, has an unknown key or an impossible value, or is of an unknown schema.
    """

    def wrong(where: str, reason: str, *, hint: str | None = None) -> InvalidPolicy:
        return InvalidPolicy(what, where, reason, hint=hint)

    if len(data) > MAX_BYTES:
        raise wrong("", f"it has {len(data)} bytes; at most {MAX_BYTES} are read")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise wrong("", "is not UTF-8") from exc
    top = parse_toml(text, wrong)
    return read_policy(top, what, kinds=kinds)


def read_policy(
    top: Table, what: str, *, kinds: Iterable[Kind[Any, Any, Any]] = KINDS, also: Iterable[str] = ()
) -> Policy:
    """Read a policy from a parsed document.

    Args:
        top: the document.
        what: the policy's name where the document gives none.
        kinds: the kinds of TEE that it may have a section about.
        also: keys that the document may have besides.

    Raises:
        InvalidPolicy: as :func:`parse_policy`.
    """
    kinds = tuple(kinds)
    schema = top.number("schema", 0, 1 << 31)
    if schema != SCHEMA:
        reason = "is missing" if not top.has("schema") else f"{schema} is not known; this haulout knows {SCHEMA}"
        raise top.wrong("schema", reason, hint=f"a policy begins with: schema = {SCHEMA}")
    test = top.flag("test", default=False)
    roots = frozenset(one.hex() for one in top.digests("roots", (32,)) or ())
    freshness = top.table("freshness")
    policy = Policy(
        name=top.text("name", what),
        test=test,
        roots=roots,
        report_data_required=freshness.flag("report-data-required", default=False),
        nonce_seconds=freshness.number("nonce-seconds", 300, 86_400),
        sections={kind.name: _section(top, kind) for kind in kinds if top.has(kind.name)},
    )
    freshness.end()
    top.end(*(kind.name for kind in kinds), *also)
    if roots and not test:
        # AMD's and Intel's roots are pinned: no other can be right for them.
        raise top.wrong("roots", "only a policy for tests may add roots", hint="for tests only, add: test = true")
    return policy


def _section(top: Table, kind: Kind[Any, Any, Any]) -> Any:
    return read_section(top.table(kind.name), kind)


def read_section(table: Table, kind: Kind[Any, Any, Any]) -> Any:
    """Read what a policy demands of one kind of TEE, from a table of its own.

    Raises:
        InvalidPolicy: a key is unknown, or has an impossible value.
    """
    found = kind.policy(table)
    table.end()
    return found

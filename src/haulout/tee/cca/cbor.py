"""Strict CBOR: one way to write a value, so that nothing can be read in two ways.

``cbor2`` parses; what it returns is encoded again and has to give the same bytes. That refuses duplicate keys,
indefinite lengths, padded numbers, and whatever stands behind the end.
"""

from __future__ import annotations

from typing import Any, Final

import cbor2

from haulout.errors import InvalidEvidence

MAX_DEPTH: Final = 8
"""Deepest nesting accepted; a token has 5 levels."""


def loads(data: bytes, what: str) -> Any:
    """Read one value.

    Raises:
        InvalidEvidence: it is not CBOR, not in the shortest form, or of types that no token has.
    """
    try:
        value = cbor2.loads(data, max_depth=MAX_DEPTH, allow_indefinite=False, allow_duplicate_keys=False)
    except (cbor2.CBORError, ValueError, TypeError, ArithmeticError, LookupError, MemoryError, RecursionError) as exc:
        # Decoders of single tags raise whatever they meet.
        raise InvalidEvidence(what, "it is not CBOR, or is ambiguous") from exc
    plain = _plain(value, what)
    if cbor2.dumps(plain) != data:
        raise InvalidEvidence(what, "it is not CBOR in the shortest form, or has bytes behind its end")
    return plain


def _plain(value: Any, what: str) -> Any:
    """Return a value of plain types only: truth values, numbers, bytes, text, lists, maps, tags."""
    if isinstance(value, int | bytes | str):
        return value
    if isinstance(value, cbor2.CBORTag):
        return cbor2.CBORTag(value.tag, _plain(value.value, what))
    if isinstance(value, list | tuple):
        return [_plain(one, what) for one in value]
    try:
        items = list(value.items())
    except AttributeError as exc:
        raise InvalidEvidence(what, "it has a value of a type that no token has") from exc
    if not all(isinstance(key, int | str) and not isinstance(key, bool) for key, _ in items):
        raise InvalidEvidence(what, "a key in it is neither a number nor text")
    return {key: _plain(one, what) for key, one in items}

"""Names of resources: ``repository/type/tag``, as ``kbs/src/plugins/implementations/resource`` of Trustee has them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from haulout.broker.protocol.errors import InvalidMessage

SCHEME: Final = "kbs:///"
LONGEST: Final = 128
"""Characters of each part."""
PATH: Final = "/kbs/v0/resource/"

_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True, order=True)
class ResourcePath:
    """The name of a resource."""

    repository: str
    type: str
    tag: str

    def __post_init__(self) -> None:
        if not all(_PART.fullmatch(part) for part in (self.repository, self.type, self.tag)):
            raise InvalidMessage(
                "resource",
                "",
                "expected repository/type/tag: letters, digits, _, - and, not at the beginning, dots",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``repository/type/tag``, or the same as ``kbs:///repository/type/tag``.

        Raises:
            InvalidMessage: it is neither.
        """
        parts = text.removeprefix(SCHEME).split("/")
        if len(parts) != 3:
            raise InvalidMessage("resource", "", "expected repository/type/tag")
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.repository}/{self.type}/{self.tag}"

    @property
    def url_path(self) -> str:
        """The path at which guests ask for it."""
        return f"{PATH}{self}"

"""What a file is, by its name. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

_NOT_CODE: Final = (".md", ".rst", ".txt", ".adoc", ".bats")


@lru_cache(maxsize=4096)
def is_code(path: str) -> bool:
    """Whether a file is part of what is shipped, by its name: not a test, not a document."""
    lower = path.lower()
    folders, _, name = lower.rpartition("/")
    stem = name.rpartition(".")[0] or name
    return not (
        name.endswith(_NOT_CODE)
        or {"test", "tests", "testdata", "docs", "doc"} & set(folders.split("/"))
        or stem.startswith("test_")
        or stem.endswith(("_test", ".test", "-test"))
    )

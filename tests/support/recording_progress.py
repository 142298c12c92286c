"""A progress port that remembers what it was told."""

from __future__ import annotations

from haulout.progress import NullProgress


class RecordingProgress(NullProgress):
    """Keeps the names of all tasks, and all notes."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.notes: list[str] = []

    def task(self, name, total, **_):
        self.names.append(name)
        return super().task(name, total)

    def note(self, text):
        self.notes.append(text)

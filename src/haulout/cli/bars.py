"""Bars on a terminal. The only module that imports rich, and imported only where a bar is really drawn."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TextIO

from rich.console import Console
from rich.control import Control
from rich.progress import BarColumn, ProgressColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.progress import Task as RichTask
from rich.segment import ControlType, Segment
from rich.table import Column
from rich.text import Text

from haulout.cli.progress import Reporter, figures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import ConsoleOptions, RenderResult
    from rich.progress import TaskID
    from rich.table import Table

    from haulout.cli.meter import Meter
    from haulout.cli.progress import Watched


_NARROW: Final = 64
"""Columns below which only share and time left are shown."""


class _Figures(ProgressColumn):
    """Amount, rate and time left, from the same meter as the plain lines."""

    max_refresh = None

    def __init__(self, clock: Callable[[], float], console: Console) -> None:
        super().__init__(Column(no_wrap=True))
        self._clock = clock
        self._console = console

    def render(self, task: RichTask) -> Text:
        meter: Meter = task.fields["meter"]
        return Text(figures(meter, self._clock(), brief=self._console.width < _NARROW))


class _Margin:
    """Leaves room for the ^C that a terminal echoes: in a full line it would move the cursor away from the bars."""

    def __init__(self, table: Table, widths: list[int]) -> None:
        self._table = table
        self._widths = widths

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        segments = list(console.render(self._table, options.update_width(max(options.max_width - 4, 20))))
        self._widths[:] = [sum(each.cell_length for each in line) for line in Segment.split_lines(segments)]
        yield from segments


class _Drawing(RichProgress):
    def __init__(self, *columns: ProgressColumn, console: Console) -> None:
        self.widths: list[int] = []
        """Columns of each line as it was drawn last."""
        # Drawn by our own thread (auto_refresh would be a second one), removed at the end: the result says it all.
        super().__init__(
            *columns,
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def get_renderables(self) -> Iterator[_Margin]:
        yield _Margin(self.make_tasks_table(self.tasks), self.widths)


class Bars(Reporter):
    """``--progress auto`` on a terminal: one bar per task, gone when the work is done. Notes appear above."""

    interval = 0.2

    def __init__(self, err: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(err, clock=clock)
        self._console = Console(file=err, highlight=False, markup=False, emoji=False)
        self._bar = BarColumn()
        self._drawing = _Drawing(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
            self._bar,
            _Figures(clock, self._console),
            console=self._console,
        )
        self._width = 0
        self._fit()
        self._ids: dict[int, TaskID] = {}
        self._drawn = False

    def began(self, watched: Watched) -> None:
        """Add a bar."""
        meter = watched.meter
        if not self._drawn:
            self._drawn = True
            self._drawing.start()
        self._ids[watched.number] = self._drawing.add_task(
            meter.name, total=meter.total, completed=meter.done, meter=meter
        )

    def moved(self, watched: Watched, now: float) -> None:  # noqa: ARG002 - rich asks the meter itself
        """Move a bar."""
        self._drawing.update(self._ids[watched.number], completed=watched.meter.done)

    def look(self) -> None:
        """Move all bars, then draw once."""
        super().look()
        with self._lock:
            self._fit()
            self._drawing.refresh()

    def _fit(self) -> None:
        """Follow the width of the terminal."""
        width = self._console.width
        # The figures are what people read; on a narrow terminal the bar gives way to them.
        self._bar.bar_width = 24 if width >= 100 else 6
        # A terminal that became narrower has broken our lines; what rich does not know of is erased from below.
        more = sum(-(-drawn // width) - 1 for drawn in self._drawing.widths if drawn > width)
        if more and width < self._width:
            self._console.control(Control(*[(ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)] * more))
        self._width = width

    def ended(self, watched: Watched, now: float, *, complete: bool) -> None:  # noqa: ARG002 - the bar just goes
        """Remove a bar."""
        self._drawing.remove_task(self._ids.pop(watched.number))

    def noted(self, message: str) -> None:
        """Print above the bars."""
        self._fit()
        self._console.print(Text(message), soft_wrap=True)

    def close(self) -> None:
        """Clear the bars and give the cursor back."""
        super().close()
        if self._drawn:
            self._drawing.stop()

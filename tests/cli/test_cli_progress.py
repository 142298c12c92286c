from __future__ import annotations

import io
import json
import re
import threading

import pytest

from haulout.cli.bars import Bars
from haulout.cli.meter import Meter
from haulout.cli.progress import JsonLines, NotesOnly, PlainLines, Silence, figures
from haulout.cli.reporters import Mode, choose


class Clock:
    """A clock that the test moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Gone(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


def test_a_meter_tells_the_recent_rate_and_the_time_left():
    meter = Meter("fetching", 1000, "B", 0, 0.0)
    assert meter.rate(0.1) is None
    for second in range(1, 6):
        meter.advance(100)
        meter.sample(float(second))
    assert meter.rate(5.0) == pytest.approx(100)
    assert meter.left(5.0) == pytest.approx(5)
    for second in range(6, 30):
        meter.sample(float(second))
    assert meter.rate(29.0) == 0, "a stall is a rate of nothing, not the average of better times"
    assert meter.left(29.0) is None


def test_what_was_there_already_does_not_make_the_rate():
    meter = Meter("fetching", 1000, "B", 900, 0.0)
    meter.advance(10)
    assert meter.rate(1.0) == pytest.approx(10)
    assert meter.average(1.0) == pytest.approx(10)
    assert figures(meter, 1.0) == "910 B of 1000 B (91 %), 10 B/s, 9.0 s left"
    assert figures(meter, 1.0, brief=True) == "91 %, 9.0 s left"


@pytest.mark.parametrize("reporter", [PlainLines, JsonLines, Bars])
def test_what_is_sent_twice_does_not_pass_the_total(reporter, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    err, clock = Terminal(), Clock()
    with reporter(err, clock=clock) as progress, progress.task("work", 243) as task:
        for _ in range(8):
            clock.now += 4
            task.advance(58)
            progress.look()
    text = err.getvalue()
    shares = [int(share) for share in re.findall(r"(\d+) %", text)]
    amounts = [json.loads(line).get("done", 0) for line in text.splitlines()] if reporter is JsonLines else []
    assert max(shares + amounts) in {100, 243}
    assert "464" not in text


def test_figures_say_only_what_is_known():
    unknown = Meter("reading", None, "frames", 0, 0.0)
    assert figures(unknown, 0.0) == figures(unknown, 0.0, brief=True) == "0 frames"
    assert figures(unknown, 1.0) == "0 frames, nothing moves"
    empty = Meter("reading", 0, "B", 0, 0.0)
    assert figures(empty, 0.0) == "0 B of 0 B"


def test_plain_lines_come_every_few_seconds_and_tell_rate_and_time_left():
    err, clock = io.StringIO(), Clock()
    with PlainLines(err, clock=clock) as progress, progress.task("fetching machine", 10 << 20) as task:
        for _ in range(8):
            clock.now += 1
            task.advance(1 << 20)
            progress.look()
    assert err.getvalue().splitlines() == [
        "fetching machine: 3.0 MiB of 10.0 MiB (30 %), 1.0 MiB/s, 7.0 s left",
        "fetching machine: 6.0 MiB of 10.0 MiB (60 %), 1.0 MiB/s, 4.0 s left",
        "fetching machine: done, 8.0 MiB in 8.0 s, 1.0 MiB/s",
    ]


def test_a_short_task_passes_without_a_plain_line_and_a_failed_one_is_not_called_done():
    err, clock = io.StringIO(), Clock()
    with PlainLines(err, clock=clock) as progress:
        with progress.task("quick", 5):
            clock.now += 2
            progress.look()
        assert err.getvalue() == ""
        task = progress.task("slow", 5)
        clock.now += 4
        progress.look()
        task.__exit__(KeyError, KeyError(), None)
    assert "slow: stopped, 0 B in 4.0 s" in err.getvalue()


def test_json_lines_are_objects_with_everything_a_program_needs():
    err, clock = io.StringIO(), Clock()
    with JsonLines(err, clock=clock) as progress, progress.task("fetching", 100, done=20) as task:
        clock.now += 1
        task.advance(40)
        progress.look()
        progress.look()
        progress.note("mirror failed")
        task.advance(40)
    assert [json.loads(line) for line in err.getvalue().splitlines()] == [
        {"event": "begin", "task": 1, "name": "fetching", "unit": "B", "done": 20, "total": 100},
        {"event": "progress", "task": 1, "done": 60, "total": 100, "rate": 40, "seconds_left": 1.0},
        {"event": "note", "message": "mirror failed"},
        {"event": "end", "task": 1, "done": 100, "seconds": 1.0, "complete": True},
    ]


def test_notes_are_said_once_and_made_harmless():
    err = io.StringIO()
    with NotesOnly(err) as progress:
        progress.note("careful: \x1b[2J")
        progress.note("careful: \x1b[2J")
        with progress.task("silent", 1) as task:
            task.advance(1)
    assert err.getvalue() == "careful: \\x1b[2J\n"


def test_quiet_says_nothing_at_all():
    err = io.StringIO()
    with choose(Mode.AUTO, err, quiet=True, terminal="xterm") as progress:
        progress.note("a warning")
        with progress.task("work", 1) as task:
            task.advance(1)
    assert err.getvalue() == ""


@pytest.mark.parametrize(
    ("mode", "terminal", "err", "kind"),
    [
        (Mode.AUTO, "xterm", io.StringIO(), PlainLines),
        (Mode.AUTO, "dumb", Terminal(), PlainLines),
        (Mode.AUTO, None, Terminal(), PlainLines),
        (Mode.AUTO, "xterm", Terminal(), Bars),
        (Mode.PLAIN, "xterm", Terminal(), PlainLines),
        (Mode.JSON, "xterm", Terminal(), JsonLines),
        (Mode.NONE, "xterm", Terminal(), NotesOnly),
    ],
)
def test_the_mode_decides_and_auto_draws_only_on_a_terminal(mode, terminal, err, kind):
    assert type(choose(mode, err, quiet=False, terminal=terminal)) is kind
    assert type(choose(mode, err, quiet=True, terminal=terminal)) is Silence


@pytest.mark.parametrize("kind", [PlainLines, JsonLines, Bars])
def test_tasks_may_be_advanced_from_many_threads(kind):
    with kind(Terminal()) as progress, progress.task("counted", 80_000) as task:
        threads = [threading.Thread(target=lambda: [task.advance(1) for _ in range(10_000)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert task.meter.done == 80_000


def test_a_reader_that_goes_away_does_not_stop_the_work():
    with JsonLines(Gone()) as progress, progress.task("work", 2) as task:
        task.advance(1)
        progress.note("nobody reads this")
    assert task.meter.done == 1


def test_bars_show_untrusted_names_as_they_are_and_leave_nothing_behind(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    err, clock = Terminal(), Clock()
    with Bars(err, clock=clock) as progress, progress.task("[bold]x[/] \x1b[2J", 1 << 20) as task:
        clock.now += 1
        task.advance(1 << 19)
        progress.look()
        progress.note("a [red]note[/red]")
    drawn = err.getvalue()
    assert r"[bold]x[/] \x1b[2J" in drawn
    assert "512 KiB of 1.0 MiB (50 %), 512 KiB/s" in drawn
    assert all(len(line) <= 116 for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "\n", drawn).split("\n"))
    assert "a [red]note[/red]" in drawn
    assert "\x1b[2J" not in drawn
    assert drawn.endswith("\x1b[2K") or drawn.rstrip().endswith("\x1b[?25h"), "the last bar is erased"


class Reflowing:
    """The rows of a terminal that breaks its lines anew when it is resized, as most do; the cursor stays in its text."""

    def __init__(self, width):
        self.width = width
        self.lines = [""]
        self.row = 0

    def feed(self, text):
        for code, up, plain in re.findall(
            r"(\x1b\[([0-9]*)[A-Za-z]|\x1b\[[?0-9;]*[A-Za-z]|[\r\n])|([^\x1b\r\n]+)", text
        ):
            if plain:
                self.lines[self.row] += plain
            elif code == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif code.endswith("A"):
                self.row -= int(up or 1)
            elif code == "\x1b[2K":
                self.lines[self.row] = ""

    def resize(self, width):
        above, here, below = self.lines[: self.row], self.lines[self.row], self.lines[self.row + 1 :]
        upto = [part for line in [*above, here] for part in self.broken(line, width)]
        self.row = len(upto) - 1
        self.lines = upto + [part for line in below for part in self.broken(line, width)]

    @staticmethod
    def broken(line, width):
        return [line[start : start + width] for start in range(0, max(len(line), 1), width)]


@pytest.mark.parametrize("widths", [(120, 50), (120, 30, 200), (90, 64, 63, 20), (40, 120)])
def test_bars_are_whole_after_the_terminal_was_resized(monkeypatch, widths):
    monkeypatch.setenv("TERM", "xterm")
    err, clock = Terminal(), Clock()
    with Bars(err, clock=clock) as progress:
        progress._console.width = widths[0]
        terminal = Reflowing(widths[0])
        terminal.feed("$ haulout pull\n")
        with progress.task("disk 1", 1 << 30) as task, progress.task("disk 2", 1 << 30):
            for width in widths:
                progress._console.width = width
                terminal.resize(width)
                clock.now += 1
                task.advance(1 << 20)
                progress.look()
                terminal.feed(err.getvalue())
                err.seek(0)
                err.truncate()
                assert terminal.lines[0] == "$ haulout pull"
                rows = [line for line in terminal.lines[1:] if line.strip()]
                assert len(rows) == 2
                assert all(len(row) < max(width, 24) for row in rows)

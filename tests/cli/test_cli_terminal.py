from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.cli import terminal
from haulout.cli.terminal import count, duration, neutral, quantity, size


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ASCII", "plain ASCII"),
        ("Größe → 見る", "Größe → 見る"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("two\nlines\r", r"two\nlines\r"),
        ("del\x7f", r"del\x7f"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("lone \udcff", r"lone \udcff"),
        ("line\u2028separator", r"line\u2028separator"),
    ],
)
def test_what_a_terminal_could_obey_is_spelled_out(text, shown):
    assert neutral(text) == shown


@given(st.text())
def test_neutral_text_is_always_one_printable_line_that_can_be_written(text):
    shown = neutral(text)
    assert shown.isprintable()
    assert shown.encode("utf-8").decode() == shown
    assert neutral(shown) == shown


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (630 << 20, "630 MiB"),
        (1023 << 20, "1.0 GiB"),
        (4 << 30, "4.0 GiB"),
        (1 << 56, "64.0 PiB"),
    ],
)
def test_sizes_have_two_or_three_digits(amount, shown):
    assert size(amount) == shown


@given(st.integers(min_value=1024, max_value=1 << 62))
def test_sizes_are_never_far_from_the_truth(amount):
    number, unit = size(amount).split()
    factor = 1024 ** (["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].index(unit) + 1)
    assert float(number) * factor == pytest.approx(amount, rel=0.06)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.04, "40 ms"),
        (0.0996, "0.1 s"),
        (1.24, "1.2 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3725, "1 h 02 min"),
    ],
)
def test_durations(seconds, shown):
    assert duration(seconds) == shown


def test_counts_and_quantities():
    assert [count(1, "entry", "entries"), count(2, "entry", "entries"), count(0, "disk")] == [
        "1 entry",
        "2 entries",
        "0 disks",
    ]
    assert quantity(1234, "frames") == "1,234 frames"
    assert quantity(2048, "B") == "2.0 KiB"


def test_a_locale_without_our_signs_gets_them_in_ascii():
    codecs.register_error(terminal.SPELLED_OUT, terminal.spelled_out)
    text = "a → b (1…2) é €"
    assert text.encode("ascii", terminal.SPELLED_OUT) == b"a -> b (1...2) \\xe9 \\u20ac"
    assert text.encode("latin-1", terminal.SPELLED_OUT) == b"a -> b (1...2) \xe9 \\u20ac"
    assert text.encode("utf-8", terminal.SPELLED_OUT) == text.encode()
    assert "\udce9".encode("utf-8", terminal.SPELLED_OUT) == b"\\udce9"

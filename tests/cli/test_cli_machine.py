"""Arguments of machines."""

from __future__ import annotations

import pytest

from haulout.cli.machine.common import AmountParam
from haulout.cli.main import main
from haulout.errors import UsageError


@pytest.mark.parametrize(
    ("unit", "text", "amount"),
    [
        *(("M", "4096", 4096), ("M", "4G", 4096), ("M", "512MiB", 512), ("M", "1t", 1 << 20), ("M", "2gb", 2048)),
        *(("G", "50", 50), ("G", "50G", 50), ("G", "2T", 2048), ("G", "2048M", 2)),
    ],
)
def test_an_amount_may_have_a_unit(unit, text, amount):
    found = AmountParam(1, 1 << 20, unit).convert(text, None, None)
    assert (found, type(found)) == (amount, int)


@pytest.mark.parametrize("text", ["", "G", "4K", "-1G", "1.5G", "4 G", "500M", "2000T", "4GG", "\u0664G"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(UsageError):
        AmountParam(1, 1 << 14, "G").convert(text, None, None)


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("init web oci:x:1 --proxy foo", 2, "--proxy takes host, none, or the URL of a proxy"),
        ("init web oci:x:1 --proxy http://me:s3cret@p:1", 2, "cannot hold a user or a password"),
        ("init web oci:x:1 --ca nothing.pem", 4, "no such file"),
        ("autostart web", 2, "'web' is not one of 'enable', 'disable', 'status'"),
        ("autostart enable web", 4, "there is no machine web"),
        ("events --since yesterday", 2, "--since takes a time, not 'yesterday'"),
        ("events --since 2026-13-01", 2, "--since takes a time"),
        ("events ../x", 2, "is not a name for a machine"),
        ("events --since 30m", 0, "there is no such event"),
        ("events later --since 2026-01-31T08:00:00Z", 0, "there is no such event"),
    ],
)
def test_a_wrong_word_is_told_in_one_line(capsys, home, words, code, says):
    assert main(["machine", *words.split()]) == code
    said = capsys.readouterr()
    assert says in said.err.splitlines()[0]
    assert "s3cret" not in said.err
    assert said.out == ""
    assert not (home / "haulout/machines/web/machine.json").exists()

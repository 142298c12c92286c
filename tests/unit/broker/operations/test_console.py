"""The console over HTTP: who sees what, that it only shows, and that nothing in it can become code."""

import re
from datetime import timedelta
from html.parser import HTMLParser
from time import monotonic
from urllib.parse import urlencode

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from tests.support.asgi import exchange, served
from tests.support.broker_records import NOW, TOKENS, TOO_LOW, chip, fill, new_store

from haulout.broker.app.web import Answering
from haulout.broker.operations.console import Console, ForecastLine, ForecastView
from haulout.broker.operations.console.login import COOKIE, HOURS, make_cookie, read_cookie
from haulout.broker.operations.guard import Guard, Limits
from haulout.broker.operations.machines import OVERDUE, State, counted
from haulout.broker.operations.metrics import Metrics
from haulout.broker.protocol import SigningKey
from haulout.broker.sessions import digest_of

FORECAST = ForecastView(
    "2026-06-01T11:00:00Z",
    "tomorrow, with the collateral that Intel announces",
    13,
    (
        ForecastLine("payments", "tdx:00806f05", "the platform is OutOfDate", "tcb-status", ("TDX module 5, needs 6",)),
        ForecastLine("web-frontend", chip(2), TOO_LOW, "tcb-floor", ()),
    ),
)


class Browser:
    """Sends requests as a browser without script would."""

    def __init__(self, address):
        self.address = address
        self.cookie = ""

    def send(self, method, path, form=None, kind="application/x-www-form-urlencoded", body=None):
        data = urlencode(form).encode() if form is not None else body or b""
        lines = [f"{method} {path} HTTP/1.1", "Host: broker", "Connection: close"]
        if data or method == "POST":
            lines += [f"Content-Type: {kind}", f"Content-Length: {len(data)}"]
        if self.cookie:
            lines.append(f"Cookie: {self.cookie}")
        head, _, text = exchange(self.address, "\r\n".join([*lines, "", ""]).encode() + data).partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        if "set-cookie" in headers:
            self.cookie = headers["set-cookie"].partition(";")[0]
        return int(first.split()[1]), headers, text.decode()

    def log_in(self, owner="shop"):
        status, headers, _ = self.send("POST", "/console/login", {"token": TOKENS[owner]})
        assert (status, headers["location"]) == (303, "/console")
        return headers


@pytest.fixture
def store(tmp_path):
    made = new_store(tmp_path)
    fill(made)
    yield made
    made.close()


@pytest.fixture
def browser(store):
    console = Console(store, lambda: NOW, forecast=lambda owner: FORECAST if owner == "shop" else None)
    with served(guarded(console)) as address:
        yield Browser(address)


def guarded(console):
    app = Starlette(routes=console.routes(), middleware=[Middleware(Answering)])
    return Guard(app, limits=Limits(), metrics=Metrics(clock=lambda: NOW), monotonic=monotonic)


def test_an_owner_sees_their_workloads_machines_refusals_and_forecast(browser):
    browser.log_in()
    status, headers, text = browser.send("GET", "/console")
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    for expected in (
        "web-frontend",
        "payments",
        "none: no key is released",
        "4 of 500",
        "until <time",
        TOO_LOW,
        "<code>tcb-floor</code>",
        "<strong>1</strong> overdue machine<",
        "<strong>3</strong> machines refused at their last attempt",
        "TDX module 5, needs 6",
        "26 hours",
    ):
        assert expected in text
    assert text.index("refused</span>") < text.index("overdue</span>") < text.index("current</span>")


def test_an_owner_sees_nothing_of_others(browser):
    browser.log_in("lab")
    _, _, text = browser.send("GET", "/console")
    assert "experiment" in text
    for foreign in ("web-frontend", "payments", chip(2)[:24], "shop", "TDX module"):
        assert foreign not in text
    assert browser.send("GET", "/console?workload=payments")[0] == 404
    assert browser.send("GET", "/console?workload=none")[0] == 404
    assert browser.send("GET", "/console?workload=experiment")[0] == 200


def test_one_workload_is_shown_alone(browser):
    browser.log_in()
    _, _, text = browser.send("GET", "/console?workload=payments")
    assert "<h1>Workload payments</h1>" in text
    assert chip(10)[:24] in text
    assert chip(2)[:24] not in text


def test_words_of_evidence_and_policies_are_text(browser):
    browser.log_in("lab")
    _, _, text = browser.send("GET", "/console")
    assert "&lt;b&gt;its measurement" in text
    assert "<b>" not in text


def test_nobody_sees_anything_without_a_login(browser):
    for path in ("/console", "/console?workload=payments"):
        status, headers, text = browser.send("GET", path)
        assert (status, headers["location"], text) == (303, "/console/login", "")
    for token in ("", "wrong", TOKENS["shop"][:-1], "x" * 5000, "ü"):
        status, headers, text = browser.send("POST", "/console/login", {"token": token})
        assert status == (413 if len(token) > 4096 else 401)
        assert "set-cookie" not in headers
        assert token[:20] not in text or len(token) < 6
    for body, kind in (
        (b"{}", "application/json"),
        (b"\xff=%", "application/x-www-form-urlencoded"),
        (b"a", "text/plain"),
    ):
        assert browser.send("POST", "/console/login", body=body, kind=kind)[0] == 400
    assert browser.send("POST", "/console")[0] == 405


def test_the_cookie_is_for_this_site_alone_and_ends(browser):
    headers = browser.log_in()
    parts = {part.strip().lower() for part in headers["set-cookie"].split(";")[1:]}
    assert parts == {"httponly", "secure", "path=/", "samesite=strict", f"max-age={HOURS * 3600}"}
    assert TOKENS["shop"] not in headers["set-cookie"]
    good = browser.cookie
    _, headers, _ = browser.send("POST", "/console/logout")
    assert headers["location"] == "/console/login"
    assert browser.send("GET", "/console")[0] == 303
    name, _, value = good.partition("=")
    assert name == COOKIE
    for wrong in (value[:-2], value + "a", value.replace(".", "..", 1), "e30.e30.", "x" * 9000):
        browser.cookie = f"{name}={wrong}"
        assert browser.send("GET", "/console")[0] in {303, 400}


def test_a_cookie_of_another_key_algorithm_or_time_is_none():
    key, other = SigningKey.generate(), SigningKey.generate()
    made = make_cookie("digest", key, NOW)
    assert read_cookie(made, [other, key], NOW + timedelta(hours=HOURS, seconds=-1)) == "digest"
    assert read_cookie(made, [other, key], NOW + timedelta(hours=HOURS)) is None
    assert read_cookie(made, [other], NOW) is None
    # A token that the broker signed for a guest is no cookie, nor the other way round.
    assert read_cookie(key.sign({"sub": "digest", "exp": 2**40}), [key], NOW) is None
    with pytest.raises(Exception, match="did not sign"):
        key.verify(made)


def test_a_revoked_credential_ends_the_login(browser, store):
    browser.log_in()
    with store.write() as unit:
        unit.owners.revoke("shop", digest_of(TOKENS["shop"]))
    assert browser.send("GET", "/console")[0] == 303


def test_pages_forbid_scripts_frames_and_everything_from_elsewhere(browser):
    browser.log_in()
    for path in ("/console", "/console/login", "/console/style.css", "/console/icon.svg"):
        status, headers, text = browser.send("GET", path)
        assert status == 200
        assert headers["content-security-policy"].startswith("default-src 'none'; ")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert not re.search(r"<script|style=|\son\w+=|https?://(?!www\.w3\.org)", text)
    assert browser.send("GET", "/console")[1]["cache-control"] == "no-store"
    assert browser.send("GET", "/console/../console/style.css")[0] in {200, 404}
    assert browser.send("GET", "/console/pages.py")[0] == 404


class Outline(HTMLParser):
    """Collects what a screen reader goes by."""

    def __init__(self):
        super().__init__()
        self.tags, self.ids, self.references, self.open = [], [], [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append((tag, given))
        self.ids += [given["id"]] if "id" in given else []
        self.references += [given[name] for name in ("aria-labelledby", "for", "aria-describedby") if name in given]
        self.references += [given["href"][1:]] if given.get("href", "").startswith("#") else []
        if tag not in {"meta", "link", "input", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def named(self, tag):
        return [given for name, given in self.tags if name == tag]


@pytest.mark.parametrize("path", ["/console", "/console/login"])
def test_pages_are_well_formed_and_have_landmarks_headings_and_table_headers(browser, path):
    browser.log_in()
    outline = Outline()
    outline.feed(browser.send("GET", path)[2])
    assert outline.open == []
    assert len(set(outline.ids)) == len(outline.ids)
    assert set(outline.references) <= set(outline.ids)
    for landmark in ("main", "header", "h1", "title"):
        assert len(outline.named(landmark)) == 1
    assert outline.named("html")[0]["lang"] == "en"
    assert all(given.get("scope") for given in outline.named("th"))
    if path == "/console":
        assert len(outline.named("nav")) == 1
        assert len(outline.named("section")) == len(outline.named("table")) == 5


def test_an_owner_without_anything_is_told_so(tmp_path):
    store = new_store(tmp_path)
    with store.write() as unit:
        unit.owners.add("new", NOW)
        unit.owners.credit("new", digest_of("token"), "token", NOW)
    with served(guarded(Console(store, lambda: NOW))) as address:
        browser = Browser(address)
        browser.send("POST", "/console/login", {"token": " token\n"})
        _, _, text = browser.send("GET", "/console")
    for said in (
        "No workload is registered",
        "No machine has attested",
        "no forecast yet",
        "Nothing was refused",
        "Nobody has attested",
    ):
        assert said in text
    store.close()


def test_machines_are_overdue_after_a_time_and_refused_at_once(store):
    with store.read() as unit:
        machines = unit.overview.machines(None, NOW - timedelta(days=90))
        assert unit.overview.sessions(NOW) == 0
    assert counted(machines, NOW) == {
        ("web-frontend", State.CURRENT): 9,
        ("payments", State.REFUSED): 3,
        ("payments", State.OVERDUE): 1,
        ("experiment", State.CURRENT): 1,
        ("experiment", State.REFUSED): 1,
    }
    assert counted(machines, NOW + OVERDUE)["web-frontend", State.OVERDUE] == 9
    with store.read() as unit:
        assert len(unit.overview.machines("lab", NOW - timedelta(days=90))) == 2
        assert unit.overview.machines(None, NOW) == []
        assert [row.number for row in unit.overview.newest("shop", limit=3)] == sorted(
            (row.number for row in unit.overview.newest("shop", limit=3)), reverse=True
        )

"""The console in Chromium: without script, by keyboard, for screen readers, on narrow screens, and what its policy stops.

``make test-console`` installs what it needs.
"""

import os

import pytest
from tests.support.broker_records import TOKENS
from tests.support.console import CHROMIUM, browser, log_in, shown_console

pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("HAULOUT_TEST_CONSOLE"), reason="HAULOUT_TEST_CONSOLE is not set: make test-console"
    ),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no chromium"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def url():
    with shown_console() as found:
        yield found


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture
def page_in(chromium):
    """Open pages in contexts of their own, and collect what the browser complains about."""
    opened, complaints = [], []

    def open_page(**options):
        context = chromium.new_context(ignore_https_errors=True, **options)
        opened.append(context)
        page = context.new_page()
        page.set_default_timeout(240_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.complaints = complaints
        return page

    yield open_page
    for one in opened:
        one.close()


def test_everything_works_without_script_and_the_browser_complains_about_nothing(url, page_in):
    page = page_in(java_script_enabled=False)
    log_in(page, url, TOKENS["shop"])
    assert page.get_by_role("heading", level=1).inner_text() == "Overview"
    page.get_by_role("link", name="payments").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Workload payments"
    page.locator("details summary").first.click()
    assert page.locator("details[open]").count() == 1
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Owner's token").wait_for()
    page.goto(url)
    assert page.url.endswith("/console/login")
    assert page.complaints == []


def test_all_of_it_can_be_done_by_keyboard(url, page_in):
    page = page_in()
    page.goto(url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "token"
    page.keyboard.type(TOKENS["shop"])
    page.keyboard.press("Enter")
    page.wait_for_url(url)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    names = []
    for _ in range(80):
        page.keyboard.press("Tab")
        names.append(
            page.evaluate(
                "(e => e.tagName + ' ' + (e.getAttribute('aria-labelledby') || e.textContent))(document.activeElement)"
            )
        )
    for section in ("workloads", "machines", "forecast", "refusals", "attestations"):
        assert f"DIV {section}" in names, names
    assert "A payments" in names
    outline = page.evaluate(
        "(e => {e.focus(); return getComputedStyle(e).outlineStyle})(document.querySelector('.wide'))"
    )
    assert outline in {"solid", "auto"}


def test_what_a_screen_reader_is_told(url, page_in):
    page = page_in()
    log_in(page, url, TOKENS["shop"])
    for role, name in (
        ("banner", None),
        ("main", None),
        ("navigation", "Sections"),
        ("table", "Machines"),
        ("region", "Refusals"),
        ("group", "Refusals"),
    ):
        assert page.get_by_role(role, **({"name": name, "exact": True} if name else {})).count() == 1, role
    assert page.get_by_role("columnheader", name="Last success").count() == 1
    assert page.get_by_role("rowheader", name="payments").count() == 1
    assert page.get_by_role("cell", name="refused", exact=True).count() >= 3
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Owner's token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    assert "Not logged in" in page.get_by_role("alert").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(url, page_in, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = page_in(color_scheme=scheme, bypass_csp=True)
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}

    def look():
        found = Axe().run(page, options=rules).response
        assert len(found["passes"]) > 10
        assert [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found["violations"]] == []
        assert "color-contrast" in {one["id"] for one in found["passes"]}

    page.goto(url)
    look()
    page.get_by_label("Owner's token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("alert").wait_for()
    look()
    log_in(page, url, TOKENS["shop"])
    look()
    page.get_by_role("link", name="payments").click()
    look()


def test_the_page_fits_a_narrow_screen_and_large_letters(url, page_in):
    page = page_in(viewport={"width": 320, "height": 640})
    log_in(page, url, TOKENS["shop"])
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_states_are_told_without_colour(url, page_in):
    page = page_in(forced_colors="active")
    log_in(page, url, TOKENS["shop"])
    words = {one.strip().split()[-1] for one in page.locator(".verdict").all_inner_texts()}
    assert words == {"allowed", "current", "overdue", "refused"}


def test_the_policy_of_content_stops_what_is_injected_and_the_cookie_is_out_of_reach(url, page_in):
    page = page_in()
    log_in(page, url, TOKENS["shop"])
    assert page.evaluate("document.cookie") == ""
    [cookie] = page.context.cookies()
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
    page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.ran = true';
            document.body.append(script);
            const image = document.createElement('img');
            image.setAttribute('onerror', 'window.ran = true');
            image.src = 'https://example.com/a.png';
            document.body.append(image);
        }"""
    )
    page.wait_for_timeout(500)
    assert page.evaluate("window.ran") is None
    assert sum("Content Security Policy" in one for one in page.complaints) >= 2


def test_one_owner_sees_nothing_of_another(url, page_in):
    page = page_in()
    log_in(page, url, TOKENS["lab"])
    text = page.inner_text("body")
    assert "experiment" in text
    assert "payments" not in text
    assert page.goto(f"{url}?workload=payments").status == 404

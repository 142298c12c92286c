"""Draw the console into docs/: a real page in Chromium, with generated data. Usage: make console-pictures."""

from __future__ import annotations

from pathlib import Path

from tests.support.broker_records import TOKENS
from tests.support.console import browser, log_in, shown_console

DOCS = Path(__file__).resolve().parent.parent / "docs"
WIDTH = 1100


def main() -> None:
    with shown_console() as url, browser() as chromium:
        for name, scheme, path, height in (
            ("console.png", "light", "", 860),
            ("console-workload.png", "dark", "?workload=payments", 1180),
        ):
            context = chromium.new_context(
                ignore_https_errors=True, color_scheme=scheme, viewport={"width": WIDTH, "height": height}
            )
            page = context.new_page()
            log_in(page, url, TOKENS["shop"])
            page.goto(url + path)
            page.screenshot(path=DOCS / name)
            print(f"wrote: docs/{name}")
            context.close()


if __name__ == "__main__":
    main()

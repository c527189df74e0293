"""docs/report-*.png: the report of a run as Debian's Chromium shows it.

    python -m tools.docs.screens RUN

RUN is a run on record, best one of the lab with something that failed. The pictures
end above the part that tells of the machine on which it ran.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from fleet.app import Form, report

TOP = Path(__file__).parents[2]
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
# The picture's name, colour scheme, and width in CSS pixels.
PICTURES = (("light", "light", 1100), ("dark", "dark", 1100), ("phone", "light", 360))


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", default="latest")
    run = parser.parse_args().run
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = Path(report(run, Form.HTML, output=Path(folder) / "report.html"))
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(FLAGS))
        for name, scheme, width in PICTURES:
            context = browser.new_context(
                color_scheme="dark" if scheme == "dark" else "light",
                viewport={"width": width, "height": 900},
            )
            page = context.new_page()
            page.goto(page_file.absolute().as_uri())
            end = page.evaluate("document.querySelector('#hosts').getBoundingClientRect().top")
            page.screenshot(
                path=TOP / "docs" / f"report-{name}.png",
                full_page=True,
                clip={"x": 0, "y": 0, "width": width, "height": min(end, 2200)},
            )
            context.close()
        browser.close()


if __name__ == "__main__":
    main()

"""Takes the screenshots of the README from a running demo: `python -m tests.e2e.pictures http://127.0.0.1:8000`."""

from __future__ import annotations

import argparse
import os
import re
import shutil
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.e2e.browser_actions import Visitor, act, cancel, headline, open_browser, run_of, send, sign_in
from tests.e2e.palette import with_palette

PASSWORD = "portal-demo"
FOLDER = Path(__file__).resolve().parent.parent.parent / "docs" / "images"
SIZE = {"width": 1440, "height": 900}
LARGEST = 200_000  # bytes: a README should be there at once
PATIENCE = 240_000  # milliseconds
# Names of flows and of their deployments, which pages show once.
ACQUISITION, INGESTION = "crm-data-acquisition", "crm-data-ingestion"
EVERY_KIND, LONG_HAUL = "every-parameter-kind", "long-haul"
# Runs in dev before the screenshots are taken: deployment, reason, parameters, final state.
HISTORY: list[tuple[str, str, dict[str, str], str]] = [
    (ACQUISITION, "Month end", {"snapshot_month": "2017-03"}, "Completed"),
    (INGESTION, "Month end", {"snapshot_month": "2017-03"}, "Completed"),
    (ACQUISITION, "Month end of the wrong year", {"snapshot_month": "2019-03"}, "Failed"),
    (LONG_HAUL, "Rehearsal of a failure", {"minutes": "0.2", "fail_at": "50"}, "Failed"),
    ("heartbeat", "Does the new worker answer?", {}, "Completed"),
]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.pictures", description=__doc__)
    parser.add_argument("address", help="of a demo, such as http://127.0.0.1:8000")
    parser.add_argument("--at-once", action="store_true", help="skip the runs: this demo has enough history already")
    options = parser.parse_args()
    found = os.environ.get("PORTAL_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        parser.error("there is no Chromium here: set PORTAL_CHROMIUM to its path.")
    FOLDER.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=PATIENCE)
    with open_browser(found) as browser:
        otto, anna, axel = (person(browser, options.address.rstrip("/"), name) for name in ("otto", "anna", "axel"))
        if not options.at_once:
            make_history(otto, anna)
        take_pictures(otto, anna, axel)


def person(browser: Browser, address: str, name: str) -> Visitor:
    visitor = Visitor(browser, address, viewport=SIZE, color_scheme="light")
    sign_in(visitor.page, address, name, PASSWORD)
    return visitor


def open_form(visitor: Visitor, environment: str, deployment: str) -> Page:
    visitor.goto(f"/admin/flows/deployment/?environment={environment}&q={deployment}")
    # The link says whether the run waits for approval.
    visitor.page.get_by_role("link", name=re.compile(f"^(Run|Request a run of) {deployment}")).click()
    return visitor.page


def request_run(visitor: Visitor, environment: str, deployment: str, **values: str) -> Page:
    page = open_form(visitor, environment, deployment)
    send(page, **values)
    return page


def make_history(otto: Visitor, anna: Visitor) -> None:
    for deployment, reason, values, end in HISTORY:
        expect(headline(request_run(otto, "dev", deployment, reason=reason, **values))).to_contain_text(end)
    page = request_run(otto, "prod", LONG_HAUL, reason="Backfill after Tuesday's outage", minutes="1")
    anna.page.goto(page.url)
    act(anna.page, "approve", "Agreed with finance")
    run_of(page).click()
    expect(headline(page)).to_contain_text("Running")
    cancel(page, "The outage was on Wednesday")
    expect(headline(page)).to_contain_text("Cancelled")


def take_pictures(otto: Visitor, anna: Visitor, axel: Visitor) -> None:
    request_run(otto, "prod", ACQUISITION, reason="Month end for the board", snapshot_month="2017-05")
    page = request_run(otto, "dev", LONG_HAUL, reason="Load test of the new worker", minutes="3", steps="6")
    run_of(page).click()
    expect(page.get_by_text("Step 4 of 6").nth(5)).to_be_visible()
    take(page, "run")
    # The theme reads the preferred color scheme only when a page is loaded.
    page.emulate_media(color_scheme="dark")
    page.reload()
    take(page, "run-dark")
    page.emulate_media(color_scheme="light")
    anna.goto("/admin/")
    take(anna.page, "overview")
    axel.goto("/admin/runs/auditentry/")
    take(axel.page, "audit")
    form = open_form(otto, "dev", EVERY_KIND)
    form.get_by_label("code").fill("AB-123")
    form.get_by_label("code").blur()
    take(form, "form")


def take(page: Page, name: str) -> None:
    page.wait_for_load_state("load")
    if page.locator("[data-live-topics]").count():
        expect(page.locator("[data-freshness][data-state=live]")).to_be_attached()
    picture = with_palette(page.screenshot(animations="disabled", caret="hide"))
    (FOLDER / f"{name}.png").write_bytes(picture)
    print(f"{name}.png: {len(picture) // 1000} kB{' - too large' if len(picture) > LARGEST else ''}")


if __name__ == "__main__":
    main()

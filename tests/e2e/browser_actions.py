"""A browser for the end-to-end tests and for the pictures: signing in, common actions, and errors of pages."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Leaving a page aborts its event stream and its last update.
LEFT = "net::ERR_ABORTED"


@contextlib.contextmanager
def open_browser(executable: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def sign_in(page: Page, address: str, name: str, password: str) -> None:
    page.goto(f"{address}/admin/login/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{address}/admin/")


def send(page: Page, **values: str) -> None:
    """Fill in the run form by its labels, and submit and confirm it."""
    for label, value in values.items():
        field = page.get_by_label(re.compile(f"^{label.replace('_', '[ _]')}", re.IGNORECASE))
        if field.evaluate("field => field.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)
    page.locator("form.portal-columns button.is-primary").click()
    confirm(page)
    open_request(page)


def open_request(page: Page) -> None:
    """After a run was requested: its request, whether the page has already led on to the run or not yet."""
    expect(page).to_have_url(re.compile(r"/(runrequest|run)/\d+/change/"))
    link = page.locator("a[href*='/runs/runrequest/'][href$='/change/']").first
    on_request = "/runrequest/" in page.url
    page.goto(page.url.partition("?")[0] if on_request else urljoin(page.url, str(link.get_attribute("href"))))


def confirm(page: Page) -> None:
    """Type the name where confirmation is required."""
    field = page.locator("#confirmation")
    expect(field.or_(headline(page))).to_be_visible()
    if field.count():
        field.fill(page.locator("label[for=confirmation] .portal-code").inner_text())
        page.locator("form:has(#confirmation) button.is-primary").click()


def open_action(page: Page, key: str) -> Locator:
    """Open the form behind a button of the page, such as "approve" or "cancel"; the form."""
    details = page.locator(f"details.portal-ask[data-key={key}]")
    details.locator("summary").click()
    return details.locator("form")


def act(page: Page, key: str, reason: str = "") -> None:
    """Perform an action of the page with a reason."""
    form = open_action(page, key)
    if reason:
        form.locator("textarea").fill(reason)
    form.get_by_role("button").click()


def cancel(page: Page, reason: str) -> None:
    act(page, "cancel", reason)


def cancellation(page: Page) -> Locator:
    """What the page says about the cancellation of its run."""
    return page.locator("[data-key^=cancellation-]")


def headline(page: Page) -> Locator:
    """The name of the run or request, its state and its environment."""
    return page.locator("[data-live=headline]")


def run_of(page: Page) -> Locator:
    """The link to the run, on the page of its request."""
    return page.locator("[data-live=run]").get_by_role("link")


class Visitor:
    """One browser context, and the errors, failed requests and error responses of its pages."""

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        self.address = address
        # Animations cost more CPU than everything else on a page, and two cores are shared with the flows.
        self.context: BrowserContext = browser.new_context(**{"reduced_motion": "reduce"} | options)
        self.troubles: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.troubles.append(f"script: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._answered)

    def goto(self, path: str) -> Response:
        answer = self.page.goto(f"{self.address}{path}")
        assert answer is not None
        return answer

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.troubles.append(f"console: {message.text}")

    def _failed(self, request: Request) -> None:
        if request.failure != LEFT:
            self.troubles.append(f"{request.method} {request.url}: {request.failure}")

    def _answered(self, answer: Response) -> None:
        if answer.status >= 400:
            self.troubles.append(f"{answer.request.method} {answer.url}: {answer.status}")

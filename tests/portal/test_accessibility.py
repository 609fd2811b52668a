"""Every page is usable with a keyboard and a screen reader: axe finds nothing, light and dark, wide and narrow."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Browser, Page, expect

from flows.models import Environment
from tests.e2e.browser_actions import open_browser
from tests.fakes.prefect import FakePrefect
from tests.portal import sign_ons
from tests.portal.addresses import fill, routes
from tests.portal.hostile_text import world
from tests.portal.served_pages import ORIGIN, RenderedPage, render, serve

pytestmark = pytest.mark.django_db

Pages = Mapping[str, RenderedPage]
SIZES = {1440: 900, 390: 844}
THEMES = ("light", "dark")
# A folder for pictures of every page, to be looked at; without it none are taken.
PICTURES = os.environ.get("PORTAL_TEST_PICTURES", "")
# Of what differs by its state: a running and a failed run, a grant for a group and one with a condition.
MORE_THAN_ONE = ("runs/run", "runs/grant", "runs/runrequest")


@pytest.fixture
def pages(
    dev: Environment, fake: FakePrefect, admin_user: User, login: Callable[[User], Client], settings: Any
) -> Pages:
    """A page of each address of the admin, for a person who may do everything where there is one of everything."""
    # Nobody answers there: the page of single sign-on says so.
    sign_ons.use(settings, "http://127.0.0.1:9")
    rows = world(dev, fake, admin_user).rows
    found = render(login(admin_user), [*addresses(rows), "/admin/nowhere/"])
    others = render(Client(), [reverse("admin:login"), "/admin/password_reset/", reverse("sign_on")])
    # All errors of one status are the same page.
    errors = {page.status: address for address, page in found.items() if page.status >= 400}
    return {each: page for each, page in found.items() if page.status < 400 or each in errors.values()} | others


def addresses(rows: Mapping[str, Sequence[object]]) -> Iterator[str]:
    chosen = {name: keys[: 2 if name in MORE_THAN_ONE else 1] for name, keys in rows.items()}
    for route in routes():
        if route.startswith("admin/"):
            yield from fill(route, chosen)


def open_page(browser: Browser, pages: Pages, theme: str) -> Page:
    context = browser.new_context(color_scheme="dark" if theme == "dark" else "light", service_workers="block")
    serve(context, pages)
    return context.new_page()


def violations(page: Page) -> list[str]:
    """Return what axe finds: the rule, and where it is broken."""
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]


def test_axe_finds_nothing_on_any_page(pages: Pages, chromium: str, subtests: pytest.Subtests) -> None:
    assert len(pages) > 60
    with open_browser(chromium) as browser:
        for theme in THEMES:
            page = open_page(browser, pages, theme)
            for address in pages:
                page.goto(f"{ORIGIN}{address}")
                for width, height in SIZES.items():
                    page.set_viewport_size({"width": width, "height": height})
                    with subtests.test(address=address, theme=theme, width=width):
                        assert violations(page) == []
                        assert page.evaluate("document.documentElement.scrollWidth") <= width
                    if PICTURES:
                        name = address.strip("/").replace("/", "_")
                        page.screenshot(path=Path(PICTURES) / f"{name}-{theme}-{width}.png", full_page=True)


def test_the_keyboard_reaches_content_and_menus(pages: Pages, chromium: str) -> None:
    with open_browser(chromium) as browser:
        page = open_page(browser, pages, "light")
        page.set_viewport_size({"width": 1440, "height": 900})
        page.goto(f"{ORIGIN}{reverse('profile')}")
        # 1. The first stop leads past the menu.
        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to content")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        # 2. The reader's menu opens with focus in it, and gives it back.
        opener = page.locator("button.portal-user")
        opener.press("Enter")
        expect(page.locator("#user-menu")).to_be_visible()
        expect(page.locator("#user-menu button").first).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.locator("#user-menu")).to_be_hidden()
        expect(opener).to_be_focused()
        # 3. So does the list of shortcuts, which is not opened by what is typed into a field.
        shortcuts = page.locator("#shortcuts")
        field = page.get_by_label("First name")
        field.focus()
        page.keyboard.type("?gd")
        expect(shortcuts).to_be_hidden()
        expect(field).to_have_value("?gd")
        opener.focus()
        page.keyboard.press("Shift+?")
        expect(shortcuts).to_be_visible()
        expect(shortcuts.get_by_label("Close")).to_be_focused()
        assert violations(page) == []
        page.keyboard.press("Escape")
        expect(shortcuts).to_be_hidden()
        expect(opener).to_be_focused()
        # 4. Two letters open a page.
        page.keyboard.type("gd")
        page.wait_for_url(f"{ORIGIN}{reverse('admin:flows_deployment_changelist')}")


def test_the_tooltip_of_the_header_opens_with_focus_and_closes_with_escape(pages: Pages, chromium: str) -> None:
    with open_browser(chromium) as browser:
        for width, height in SIZES.items():
            page = open_page(browser, pages, "dark")
            page.set_viewport_size({"width": width, "height": height})
            page.goto(f"{ORIGIN}{reverse('profile')}")
            dot, tip = page.locator(".portal-freshness-button"), page.get_by_role("tooltip")
            expect(tip).to_be_hidden()
            dot.focus()
            expect(tip).to_be_visible()
            assert violations(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.keyboard.press("Escape")
            expect(tip).to_be_hidden()
            expect(dot).to_be_focused()
            # The next time it opens again.
            dot.blur()
            dot.focus()
            expect(tip).to_be_visible()


def test_a_popover_takes_the_focus_and_gives_it_back(pages: Pages, chromium: str) -> None:
    with open_browser(chromium) as browser:
        page = open_page(browser, pages, "light")
        address = next(each for each, found in pages.items() if b"portal-ask" in found.body and "runrequest" in each)
        page.goto(f"{ORIGIN}{address}")
        popover = page.locator("main details.portal-ask:visible").first
        popover.locator("summary").press("Enter")
        expect(popover.locator("textarea, input:not([type=hidden]), button").first).to_be_focused()
        page.keyboard.press("Escape")
        expect(popover).not_to_have_attribute("open", "")
        expect(popover.locator("summary")).to_be_focused()

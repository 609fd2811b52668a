"""The script and the style of the run form in a browser, on a page with nothing but the form: no portal is started."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.http import QueryDict
from playwright.sync_api import Browser, Page, expect

from flows.parameters import Earlier, ParameterForm
from flows.parameters.choices import find_choices
from tests.e2e.browser_actions import open_browser

STATIC = Path(__file__).parents[2] / "portal" / "static" / "portal"
CITY = {"type": "object", "title": "City", "properties": {"name": {"type": "string", "default": "Vienna"}}}
SCHEMA: dict[str, Any] = {
    "properties": {
        "query": {"type": "string", "position": 0},
        "cities": {"type": "array", "items": CITY, "position": 1},
        "customer": {"enum": [f"customer-{number}" for number in range(1000)], "position": 2},
        "office": {"anyOf": [CITY, {"type": "null"}], "default": None, "position": 3},
        "several": {"type": "array", "items": {"enum": [f"shop-{number}" for number in range(1000)]}, "position": 4},
        "month": {"type": "string", "position": 5},
    },
    "required": ["query"],
}
OFFERED = {"month": ["2026-08", "2026-09"]}
PAGE = """<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/portal.css">
<script src="/run_form.js" defer></script><form method="post" data-choices-url="/choices">
<button class="portal-hidden" type="submit" tabindex="-1" aria-hidden="true">Run</button>
<p class="portal-hidden" role="status" data-form-status></p>{}<button>Run</button></form><pre id="sent">{}</pre>"""
# What an earlier run had, and a button that keeps what is in the form.
EARLIER = {"query": "q", "month": "2026-08"}
KEEP = """<div id="keep-values">{}
<button type="submit" formaction="/kept" data-in-place="keep-values">Keep</button></div>"""


class Handler(BaseHTTPRequestHandler):
    """Shows the form, adds rows, and shows the values that were sent."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if url.path == "/choices":
            found = find_choices(SCHEMA, query["name"][0], query.get("term", [""])[0])
            self.reply(json.dumps({"choices": found}), "application/json")
        elif (file := STATIC / url.path.lstrip("/")).is_file():
            self.reply(file.read_text(), "text/css" if file.suffix == ".css" else "text/javascript")
        elif url.path == "/again":
            form = ParameterForm(SCHEMA, {}, initial=EARLIER, earlier=Earlier("Request 7", EARLIER))
            self.reply(PAGE.format(form.render() + KEEP.format(""), ""), "text/html")
        else:
            self.reply(PAGE.format(ParameterForm(SCHEMA, {}, offered=OFFERED).render(), ""), "text/html")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if b"multipart" in self.headers["Content-Type"].encode():
            # Sent by the script: one part for each input.
            boundary = b"--" + self.headers["Content-Type"].partition("boundary=")[2].encode()
            parts = [part.partition(b"\r\n\r\n") for part in body.split(boundary)[1:-1]]
            data = QueryDict(mutable=True)
            for head, _, value in parts:
                data.appendlist(head.partition(b'name="')[2].partition(b'"')[0].decode(), value[:-2].decode())
        else:
            data = QueryDict(body)
        if self.path == "/kept":
            self.reply(KEEP.format(f"<p data-kept>{data['parameters-query']}</p>"), "text/html")
            return
        form = ParameterForm(SCHEMA, {}, data, offered=OFFERED)
        values = json.dumps(form.values) if form.is_valid() else ""
        self.reply(PAGE.format(form.render(), values), "text/html")

    def reply(self, text: str, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with open_browser(chromium) as browser:
        yield browser


@pytest.fixture(params=[True, False], ids=["script", "no script"])
def page(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(java_script_enabled=request.param)
    page = context.new_page()
    page.goto(address)
    yield page
    context.close()


def sent(page: Page) -> Any:
    page.get_by_role("button", name="Run", exact=True).click()
    return json.loads(page.locator("#sent").inner_text())


def cities(page: Page) -> Any:
    return page.locator("[data-rows-list] > [data-row]")


def test_rows_are_added_and_removed_and_what_was_typed_stays(page: Page) -> None:
    page.get_by_label("query").fill("q")
    add = page.get_by_role("button", name="Add City")
    for number in (1, 2, 3):
        add.click()
        expect(cities(page)).to_have_count(number)
    page.locator("[name='parameters-cities.1.name']").fill("Graz")
    page.get_by_role("button", name="Remove City 1").click()
    expect(cities(page)).to_have_count(2)
    assert sent(page) == {"query": "q", "cities": [{"name": "Graz"}, {}]}


def test_a_text_keeps_its_lines(page: Page) -> None:
    area = page.get_by_label("query")
    area.press_sequentially("select 1\n-- all\nfrom t")
    assert sent(page) == {"query": "select 1\n-- all\nfrom t"}


def test_enter_in_an_input_of_one_line_submits_the_form_and_adds_no_row(page: Page) -> None:
    page.get_by_label("query").fill("q")
    page.get_by_label("customer").fill("customer-7")
    page.get_by_label("customer").press("Enter")
    expect(page.locator("#sent")).to_have_text('{"query": "q", "customer": "customer-7"}')


def test_an_optional_group_shows_its_inputs_once_it_is_set(page: Page) -> None:
    page.get_by_label("query").fill("q")
    name = page.locator("[name='parameters-office.name']")
    expect(name).to_be_hidden()
    page.get_by_label("Set this value").check()
    expect(name).to_be_visible()
    assert sent(page) == {"query": "q", "office": {}}


def test_a_text_that_is_empty_on_purpose_is_sent(page: Page) -> None:
    query = page.locator("[name='parameters-query']")
    box = page.get_by_label("Send an empty text")
    expect(box).to_be_visible()
    query.fill("x")
    expect(box).to_be_hidden()
    query.fill("")
    box.check()
    assert sent(page) == {"query": ""}


def test_focus_and_a_message_follow_the_rows(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    page.get_by_role("button", name="Add City").press("Enter")
    expect(page.locator("[name='parameters-cities.0.name']")).to_be_focused()
    expect(page.get_by_role("status")).to_have_text("City 1 added.")
    page.get_by_role("button", name="Add City").press("Enter")
    expect(page.locator("[name='parameters-cities.1.name']")).to_be_focused()
    page.get_by_role("button", name="Remove City 1").press("Enter")
    expect(page.get_by_role("button", name="Remove City 2")).to_be_focused()
    expect(page.get_by_role("status")).to_have_text("City 1 removed.")
    page.get_by_role("button", name="Remove City 2").press("Enter")
    expect(page.get_by_role("button", name="Add City")).to_be_focused()
    page.close()


def test_choices_are_fetched_while_typing(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    page.get_by_label("customer").press_sequentially("r-99")
    found = page.locator("[id='id_parameters-customer_suggestions'] option")
    expect(found.first).to_have_attribute("value", "customer-99")
    expect(found).to_have_count(11)
    page.get_by_label("Find a choice for several").press_sequentially("p-77")
    found = page.locator("[id='id_parameters-several-find_suggestions'] option")
    expect(found.first).to_have_attribute("value", "shop-77")
    page.close()


def test_choices_are_added_to_a_list_by_button_or_enter(page: Page) -> None:
    page.get_by_label("query").fill("q")
    lines = page.locator("[name='parameters-several']")
    page.get_by_label("Find a choice for several").fill("shop-7")
    page.get_by_role("button", name="Add to several").click()
    expect(lines).to_have_value("shop-7")
    expect(page.get_by_label("Find a choice for several")).to_be_focused()
    page.get_by_label("Find a choice for several").fill("shop-999")
    page.get_by_label("Find a choice for several").press("Enter")
    expect(lines).to_have_value("shop-7\nshop-999")
    page.get_by_label("Find a choice for several").fill("p-99")
    page.get_by_label("Find a choice for several").press("Enter")
    expect(page.locator("[data-found]")).to_contain_text("11 choices found")
    page.get_by_label("Find a choice for several").fill("")
    assert sent(page) == {"query": "q", "several": ["shop-7", "shop-999"]}


def test_another_month_than_those_on_offer_has_an_input_once_it_is_chosen(page: Page) -> None:
    page.get_by_label("query").fill("q")
    other = page.get_by_label("Another value")
    expect(other).to_be_hidden()
    page.get_by_label("month").select_option("2026-08")
    expect(other).to_be_hidden()
    page.get_by_label("month").select_option("Another value…")
    other.fill("2027-01")
    assert sent(page) == {"query": "q", "month": "2027-01"}


def test_what_an_earlier_run_had_is_shown_as_soon_as_its_field_is_edited(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}again")
    note = page.locator(".portal-earlier", has_text="Request 7: 2026-08")
    expect(note).to_be_hidden()
    page.get_by_label("month").fill("2026-09")
    expect(note).to_be_visible()
    page.get_by_label("month").fill("2026-08")
    expect(note).to_be_hidden()
    page.close()


def test_what_is_kept_leaves_the_form_as_it_is(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}again")
    page.get_by_label("query").fill("typed")
    page.get_by_role("button", name="Keep").click()
    expect(page.locator("[data-kept]")).to_have_text("typed")
    assert page.get_by_label("query").input_value() == "typed"
    assert page.url.endswith("/again")
    page.close()

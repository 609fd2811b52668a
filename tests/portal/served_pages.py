"""Pages for a browser without a web server: the test client renders them, Playwright answers with them."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from django.contrib.staticfiles import finders
from django.test import Client
from playwright.sync_api import BrowserContext, Route

ORIGIN = "http://portal.test"
STATIC = "/static/"
HTML = "text/html"
# Headers without which a page is another one in the browser.
SENT = ("Content-Type", "Content-Security-Policy")


@dataclass(frozen=True, slots=True)
class RenderedPage:
    status: int
    headers: dict[str, str]
    body: bytes


def render(client: Client, addresses: Iterable[str]) -> dict[str, RenderedPage]:
    """Return what each address answers, if that is a whole page. Call it before a browser is open.

    The browser's event loop runs in this thread, where Django then refuses to ask the database.
    """
    pages = {}
    for address in addresses:
        answer = client.get(address)
        is_page = not answer.streaming and answer.headers.get("Content-Type", "").startswith(HTML)
        if is_page and answer.status_code not in (301, 302, 405) and b"<html" in answer.content:
            headers = {name: answer.headers[name] for name in SENT if name in answer.headers}
            pages[address] = RenderedPage(answer.status_code, headers, answer.content)
    return pages


def serve(context: BrowserContext, pages: Mapping[str, RenderedPage]) -> None:
    """Answer each request of the browser with one of `pages` or a static file; everything else is not found."""

    def answer(route: Route) -> None:
        parts = urlsplit(route.request.url)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        if page := pages.get(path):
            route.fulfill(status=page.status, headers=page.headers, body=page.body)
        elif parts.path.startswith(STATIC) and (found := finders.find(parts.path.removeprefix(STATIC))):
            kind = mimetypes.guess_type(str(found))[0] or "application/octet-stream"
            route.fulfill(body=Path(str(found)).read_bytes(), content_type=kind)
        else:
            route.fulfill(status=404, body="")

    context.route("**/*", answer)

"""Every address the portal has, found in its URL configuration: whatever is added there is tested by itself."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

from django.urls import URLPattern, URLResolver, get_resolver

PLACE = re.compile(r"<[^>]+>")
# Pieces of Django's admin that are regular expressions, as the addresses they stand for.
WRITTEN_OUT = {r"^(?P<app_label>": ["admin/flows/", "admin/runs/", "admin/auth/"], r"(?P<url>.*)$": ["admin/nowhere/"]}


def routes() -> list[str]:
    """Such as "admin/runs/run/<int:pk>/cancel/"."""
    return sorted(set(walk(get_resolver(), "")))


def walk(resolver: URLResolver, prefix: str) -> Iterator[str]:
    for each in resolver.url_patterns:
        route = f"{prefix}{each.pattern}"
        if isinstance(each, URLResolver):
            yield from walk(each, route)
        elif isinstance(each, URLPattern):
            yield from next((found for piece, found in WRITTEN_OUT.items() if piece in route), [route])


def subject(route: str) -> str:
    """The app and the model an address is about: "runs/run"."""
    return "/".join(route.split("/")[1:3])


def fill(route: str, rows: Mapping[str, Sequence[object]]) -> Iterator[str]:
    """The addresses of one route: one for each of the rows, by app and model, that it may be about."""
    places = len(PLACE.findall(route))
    for keys in itertools.product(rows.get(subject(route), [1]), repeat=places):
        text = route
        for key in keys:
            text = PLACE.sub(str(key), text, count=1)
        yield f"/{text}"


def everywhere(rows: Mapping[str, Sequence[object]]) -> list[str]:
    return [address for route in routes() for address in fill(route, rows)]

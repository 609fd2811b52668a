"""Reading requests: JSON, and only text that the database can hold."""

from __future__ import annotations

from typing import Any

import orjson
from django.http import HttpRequest
from django.utils.datastructures import MultiValueDict
from ninja.parser import Parser
from ninja.types import DictStrAny

from runs.errors import Refused


class PlainParser(Parser):
    """Refuses text with NUL characters, wherever it stands: Postgres stores none, in text nor in JSON."""

    def parse_body(self, request: HttpRequest) -> DictStrAny:
        # Unlike Python's own parser it refuses lone surrogates, NaN and Infinity, which are not JSON.
        found: DictStrAny = orjson.loads(request.body)
        require_plain(found)
        return found

    def parse_querydict(
        self, data: MultiValueDict[str, Any], list_fields: list[str], request: HttpRequest
    ) -> DictStrAny:
        found = super().parse_querydict(data, list_fields, request)
        require_plain(found)
        return found


def require_plain(value: object) -> None:
    """Raise `Refused` for a NUL character in a text, at any depth."""
    match value:
        case str():
            if "\x00" in value:
                raise Refused("text.nul", "A text has a NUL character (U+0000), which cannot be stored. Remove it.")
        case dict():
            for name, inner in value.items():
                require_plain(name)
                require_plain(inner)
        case list():
            for inner in value:
                require_plain(inner)

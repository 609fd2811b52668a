"""Pages of lists: filters from their table, signed cursors, sparse fields."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Annotated, Any, get_origin

from django.core import signing
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from ninja import Field, Schema
from pydantic import ConfigDict, TypeAdapter, create_model

from flows import canonical
from runs.access.decisions import Permissions
from runs.errors import Refused
from runs.listing import Filter, Listing, read_position

DEFAULT_LIMIT, MAX_LIMIT = 50, 200
SALT = "portal.api.cursor"


class Row(Schema):
    """One row of a list; `fields` leaves out the others, so none of them is sure to be there."""

    @staticmethod
    def _without_required(schema: dict[str, Any]) -> None:
        schema.pop("required", None)

    model_config = ConfigDict(json_schema_extra=_without_required)


def page_of(row: type[Schema]) -> type[Schema]:
    """Return the schema of one page of a list."""
    columns: dict[str, Any] = {
        "items": (list[row], ...),  # type: ignore[valid-type]  # a schema is made of it at run time
        "next": (str | None, Field(description="Cursor of the next page; null on the last one.")),
    }
    return create_model(f"{row.__name__.removesuffix('Row')}Page", __base__=Schema, **columns)


class Filters(Schema):
    """What each list understands beside its own filters."""

    model_config = ConfigDict(extra="forbid")

    cursor: str = Field("", max_length=2000, description="`next` of the page before.")
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="Rows of a page.")
    fields: str = Field("", max_length=2000, description="Only these fields, separated by commas.")


def filters_of(listing: Listing[Any], *fixed: str) -> type[Filters]:
    """Return the query parameters of a list, made from its table of filters without those that the path fixes."""
    return create_model(f"{listing.name.title()}Filters", __base__=Filters, **columns_of(listing, *fixed))


def columns_of(listing: Listing[Any], *fixed: str) -> dict[str, Any]:
    return {
        name: (
            Annotated[each.type | None, Field(description=each.description, **limits(each))],
            None,
        )
        for name, each in listing.filters.items()
        if name not in fixed
    }


def limits(each: Filter) -> dict[str, Any]:
    """Return what keeps a value within what the database can compare."""
    if each.type is int:
        return {"ge": 0, "le": 2**63 - 1}
    if each.type is str:
        return {"max_length": 700} | ({"min_length": each.shortest} if each.shortest else {})
    return {"max_length": 20} if get_origin(each.type) is list else {}


def answer[R: Model](
    request: HttpRequest,
    listing: Listing[R],
    query: Filters,
    schema: type[Schema],
    serialize: Callable[[R], Schema],
    permissions: Permissions | None = None,
    **fixed: object,
) -> HttpResponse:
    """Return one page: its rows with the wanted fields, and the cursor of the next one, or null.

    `permissions` are those of the caller where they were read; `fixed` are filters that the path of the route says.
    """
    require_known(request, type(query))
    given = query.model_dump(include=set(listing.filters), exclude_none=True)
    chosen = {name: value for name, value in given.items() if value != []} | fixed
    fields = fields_of(query.fields, schema)
    by = request.auth  # type: ignore[attr-defined]  # the actor of the token
    after = position_of(query.cursor, listing, chosen)
    page = listing.page(by, chosen, after=after, limit=query.limit, permissions=permissions)
    rows = [serialize(row) for row in page.rows]
    following = cursor_of(page.last, listing, chosen) if page.last is not None else None
    items = rows_of(schema).dump_json(rows, include={"__all__": fields} if fields else None)
    text = b'{"items": %b, "next": %b}' % (items, json.dumps(following).encode())
    return HttpResponse(text, content_type="application/json")


@cache
def rows_of(schema: type[Schema]) -> TypeAdapter[list[Schema]]:
    """Return what writes the rows of a page as JSON, all at once."""
    return TypeAdapter(list[schema])  # type: ignore[valid-type]  # it is known at run time


def require_known(request: HttpRequest, filters: type[Schema]) -> None:
    """Refuse a filter that does not exist: ignored, it would let everything through."""
    if unknown := sorted(set(request.GET) - set(filters.model_fields)):
        known = ", ".join(filters.model_fields)
        raise Refused("filters.invalid", f"There is no filter {unknown[0]}. There are {known}.", filters=unknown)


def fields_of(text: str, schema: type[Schema]) -> set[str] | None:
    """Return the wanted fields; None for all. Raises `Refused` for one that does not exist."""
    wanted = {each.strip() for each in text.split(",") if each.strip()}
    if unknown := sorted(wanted - set(schema.model_fields)):
        known = ", ".join(schema.model_fields)
        raise Refused("fields.invalid", f"There is no field {unknown[0]}. The fields are {known}.", fields=unknown)
    return wanted or None


def cursor_of(position: Sequence[Any], listing: Listing[Any], chosen: Mapping[str, Any]) -> str:
    plain = [each.isoformat() if isinstance(each, datetime) else each for each in position]
    return signing.dumps([listing.name, canonical.digest(chosen)[:16], plain], salt=SALT, compress=True)


def position_of(cursor: str, listing: Listing[Any], chosen: Mapping[str, Any]) -> list[Any] | None:
    """Return the position in a cursor; raises `Refused` for one of another list, or of other filters."""
    if not cursor:
        return None
    try:
        name, digest, plain = signing.loads(cursor, salt=SALT)
    except (signing.BadSignature, ValueError):
        name, digest, plain = "", "", []
    if (name, digest) != (listing.name, canonical.digest(chosen)[:16]):
        raise Refused(
            "cursor.invalid", "The cursor is not of this list with these filters. Read the list from its first page."
        )
    return read_position(listing.model, listing.order, plain)

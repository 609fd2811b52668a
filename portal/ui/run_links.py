"""Addresses of lists with filters, and numbers that link to the rows they count."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import QuerySet
from django.urls import get_script_prefix, reverse

# Counts stop here: a number of five digits says no more, and takes long.
MOST_COUNTED = 1000


@dataclass(frozen=True, slots=True)
class Count:
    """A number, and the address of the list that has exactly these rows. `key` tells it from others on the page."""

    key: str
    number: int
    url: str

    @property
    def label(self) -> str:
        return f"{MOST_COUNTED:,}+" if self.is_capped else f"{self.number:,}"

    @property
    def is_capped(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class CappedCount(Count):
    """A number that was counted up to `MOST_COUNTED`."""

    @property
    def is_capped(self) -> bool:
        return self.number > MOST_COUNTED


def list_url(model: str, **criteria: str | Iterable[str] | datetime | None) -> str:
    """Return the address of the list of a model, such as "runs_run", with the filters that are not None."""
    query: dict[str, Any] = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in criteria.items()
        if value is not None
    }
    address = list_address(model, get_script_prefix())
    return f"{address}?{urlencode(query, doseq=True)}" if query else address


@cache
def list_address(model: str, prefix: str) -> str:
    """Return the address of a list without filters. `prefix`, with which `reverse` begins, is part of the key."""
    return reverse(f"admin:{model}_changelist")


def runs_url(**criteria: str | Iterable[str] | datetime | None) -> str:
    return list_url("runs_run", **criteria)


def first_keys(
    lists: Sequence[QuerySet[Any]], counted: Sequence[QuerySet[Any]], tables: Sequence[QuerySet[Any, Any]]
) -> tuple[list[list[int]], list[int], list[list[dict[str, Any]]]]:
    """Return the keys of the rows of each list, which are sliced, the number of rows of others, and the rows of others.

    In one query. A number is `MOST_COUNTED` + 1 for all that have more. The tables are made by `values`; times in them
    are texts.
    """
    parts: list[str] = []
    parameters: list[Any] = []
    for queryset in lists:
        text, values = compiled(queryset.values("pk"))
        parts.append(f"ARRAY({text})")
        parameters += values
    for queryset in counted:
        text, values = compiled(queryset.order_by().values("pk")[: MOST_COUNTED + 1])
        parts.append(f"(SELECT count(*) FROM ({text}) AS counted)")
        parameters += values
    for queryset in tables:
        text, values = compiled(queryset)
        parts.append(f"(SELECT coalesce(json_agg(row), '[]')::text FROM ({text}) AS row)")
        parameters += values
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(parts)}", parameters)
        found = cursor.fetchone()
    end = len(lists) + len(counted)
    return list(found[: len(lists)]), list(found[len(lists) : end]), [json.loads(text) for text in found[end:]]


def compiled(queryset: QuerySet[Any]) -> tuple[str, Sequence[Any]]:
    try:
        return queryset.query.sql_with_params()
    except EmptyResultSet:
        return "SELECT 1::bigint WHERE false", ()

"""Partitions of the audit trail by sequence; the last one is open-ended and receives new entries."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.db import connection

from runs.models import AuditEntry

# As pg_get_expr prints the bounds of a range partition.
BOUNDS = re.compile(r"FROM \('(\d+)'\) TO \((?:'(\d+)'|MAXVALUE)\)")


@dataclass(frozen=True, slots=True)
class Part:
    """A partition with the entries from `first` to `last`; `last` is None for the open-ended one."""

    table: str
    first: int
    last: int | None


def parts() -> list[Part]:
    """Return the partitions in the order of their entries."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) "
            "FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = %s::regclass",
            [AuditEntry._meta.db_table],
        )
        found = [(name, match) for name, bounds in cursor.fetchall() if (match := BOUNDS.search(bounds))]
    return sorted(
        (Part(name, int(match[1]), int(match[2]) - 1 if match[2] else None) for name, match in found),
        key=lambda part: part.first,
    )


def cut() -> str:
    """Close the last partition when it is full or its month is over; return its name, or an empty string.

    A database function does it: the portal's own role owns no tables, but may call this function.
    """
    # What “full” is stands in triggers.sql.
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_cut()")
        return str(cursor.fetchone()[0])


def cut_here() -> str:
    """Close the last partition whatever it holds; for the owner of the tables."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_cut_here()")
        return str(cursor.fetchone()[0])

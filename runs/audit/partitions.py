"""The parts the audit trail's table is made of; the last one has no end and takes whatever is written."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.db import connection

from runs.models import AuditEntry

BOUNDS = re.compile(r"FROM \('(\d+)'\) TO \((?:'(\d+)'|MAXVALUE)\)")


@dataclass(frozen=True, slots=True)
class Part:
    """A table with the entries from `first` to `last`; `last` is None for the part without an end."""

    table: str
    first: int
    last: int | None


def parts() -> list[Part]:
    """In the order of their entries."""
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
    """Give the last part an end when it is long or of a month that is over; returns its name, if it was cut.

    The database has a function for it, which the portal's own role may call and which does nothing else.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_cut()")
        return str(cursor.fetchone()[0])


def cut_here() -> str:
    """Give the last part an end whatever it holds; for the owner of the tables."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_cut_here()")
        return str(cursor.fetchone()[0])

"""What protects the audit trail and the approvals in the database: privileges of the portal's role, and triggers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection, models

from runs.audit.partitions import parts
from runs.models import Approval, AuditCheckpoint, AuditEntry, BreakGlass, Comment, RowVersion, RunRequest
from runs.models.approval import REVIEWED
from runs.models.request import CHANGED

# What a role could do to a table besides SELECT.
WRITES = ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "TRIGGER")


@dataclass(frozen=True, slots=True)
class Privileges:
    """What the portal's role may do with a table; `columns` are those that it may update."""

    table: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return them as GRANT takes them."""
        update = [f"UPDATE ({', '.join(self.columns)})"] if self.columns else []
        return ", ".join([*self.table, *update])


ADDS = Privileges(("SELECT", "INSERT"))
READS = Privileges(("SELECT",))


def privileges() -> dict[str, Privileges]:
    """Return table -> privileges of the portal's role; on all other tables it may read and write rows.

    Partitions need none: they are reached through the partitioned table. Row versions are written by a trigger with the
    rights of its owner.
    """
    return {
        AuditEntry._meta.db_table: ADDS,
        AuditCheckpoint._meta.db_table: READS,
        RowVersion._meta.db_table: READS,
        Approval._meta.db_table: ADDS,
        Comment._meta.db_table: ADDS,
        RunRequest._meta.db_table: Privileges(ADDS.table, columns(RunRequest, CHANGED)),
        BreakGlass._meta.db_table: Privileges(ADDS.table, columns(BreakGlass, REVIEWED)),
        **dict.fromkeys([part.table for part in parts()], Privileges()),
    }


def columns(model: type[models.Model], names: list[str]) -> tuple[str, ...]:
    return tuple(field.column for field in model._meta.concrete_fields if field.name in names and field.column)


def excess(role: str) -> Iterator[str]:
    """Yield what a role can do and must not, such as "UPDATE runs_approval".

    A superuser, the owner of the tables, and a member of their roles can do everything, whatever was revoked.
    """
    for table, granted in privileges().items():
        refused = [each for each in WRITES if each not in granted.table]
        yield from (f"{each} {table}" for each in select(ALLOWED_ON_TABLE, [refused, role, table]))
        if granted.columns:
            yield from (
                f"UPDATE {table}.{each}"
                for each in select(ALLOWED_ON_COLUMN, [table, list(granted.columns), role, table])
            )


# Membership counts without inheritance too: SET ROLE takes those rights.
ALLOWED_ON_TABLE = """
    SELECT privilege FROM unnest(%s::text[]) AS privilege
    WHERE EXISTS (
        SELECT FROM pg_roles WHERE pg_has_role(%s, oid, 'MEMBER')
        AND has_table_privilege(oid, quote_ident(%s), privilege)
    )
"""
ALLOWED_ON_COLUMN = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = quote_ident(%s)::regclass AND attnum > 0 AND NOT attisdropped AND attname <> ALL (%s::text[])
    AND has_column_privilege(%s, quote_ident(%s), attname, 'UPDATE')
"""


def select(statement: str, values: list[Any]) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return [str(value) for (value,) in cursor.fetchall()]

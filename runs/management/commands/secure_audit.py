"""Create the database role of the portal, which can add to the audit trail but not change it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction
from psycopg import sql

from runs.audit.partitions import parts
from runs.models import Approval, AuditCheckpoint, AuditEntry, Comment, RowVersion

AUDIT = AuditEntry._meta.db_table
# In this order: some of what is granted on all tables is revoked afterwards.
GRANTS = (
    "GRANT CONNECT ON DATABASE {database} TO {role}",
    "GRANT USAGE ON SCHEMA {schema} TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
    "GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}",
    "REVOKE ALL ON django_migrations FROM {role}",
    "GRANT SELECT ON django_migrations TO {role}",
)
FORBIDDEN = ("UPDATE", "DELETE", "TRUNCATE", "TRIGGER")


def table_privileges() -> dict[str, str]:
    """Return table -> privileges of the role.

    Partitions need none: they are reached through the partitioned table. Row versions are written by a trigger with the
    rights of its owner.
    """
    return {
        AUDIT: "SELECT, INSERT",
        RowVersion._meta.db_table: "SELECT",
        AuditCheckpoint._meta.db_table: "SELECT",
        **dict.fromkeys([Approval._meta.db_table, Comment._meta.db_table], "SELECT, INSERT"),
        **dict.fromkeys([part.table for part in parts()], ""),
    }


class Command(BaseCommand):
    help = (
        "Create or update the database role that the portal's processes use. Run it as the owner of the tables after "
        "every migrate: new tables need privileges too."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role")
        parser.add_argument("--password-file", type=Path, metavar="FILE", help="set the role's password to this")

    def handle(self, *args: Any, **options: Any) -> None:
        role: str = options["role"]
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
            verb = "ALTER" if cursor.fetchone() else "CREATE"
            run(cursor, f"{verb} ROLE {{role}} LOGIN", role=role)
            if options["password_file"]:
                self.set_password(cursor, role, options["password_file"])
            cursor.execute("SELECT current_database(), current_schema()")
            database, schema = cursor.fetchone()
            for statement in GRANTS:
                run(cursor, statement, role=role, database=database, schema=schema)
            for table, privileges in table_privileges().items():
                run(cursor, "REVOKE ALL ON {table} FROM {role}", table=table, role=role)
                if privileges:
                    run(cursor, f"GRANT {privileges} ON {{table}} TO {{role}}", table=table, role=role)
            # A superuser, an owner or a member of their roles would keep rights whatever was revoked: check the result.
            cursor.execute(
                "SELECT privilege FROM unnest(%s::text[]) AS privilege WHERE EXISTS (SELECT 1 FROM "
                "unnest(%s::text[]) AS kept WHERE has_table_privilege(%s, quote_ident(kept), privilege))",
                [list(FORBIDDEN), list(table_privileges()), role],
            )
            if left := [privilege for (privilege,) in cursor.fetchall()]:
                raise CommandError(
                    f"{role} can still {', '.join(left)} the audit trail: it owns the table, is a superuser, or is in "
                    "such a role. Choose another role for the portal.",
                    returncode=1,
                )
        self.stdout.write(f"{role} can add to the audit trail and read it, and cannot change it.")

    def set_password(self, cursor: Any, role: str, path: Path) -> None:
        try:
            password = path.read_text().strip()
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}.", returncode=1) from error
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))
        cursor.execute(statement.as_string(cursor.connection))


def run(cursor: Any, statement: str, **names: str) -> None:
    composed = sql.SQL(statement).format(**{key: sql.Identifier(name) for key, name in names.items()})
    cursor.execute(composed.as_string(cursor.connection))

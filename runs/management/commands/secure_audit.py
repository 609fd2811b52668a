"""Create the database role of the portal, which cannot change the audit trail, nor what was requested and approved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connection, transaction
from psycopg import sql

from flows.wording import listed
from runs.audit import protection
from runs.management.cli.command import OperatorCommand

# In this order: some of what is granted on all tables is revoked afterwards.
GRANTS = (
    "GRANT CONNECT ON DATABASE {database} TO {role}",
    "GRANT USAGE ON SCHEMA {schema} TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
    "GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}",
    "REVOKE ALL ON django_migrations FROM {role}",
    "GRANT SELECT ON django_migrations TO {role}",
)
# Privileges that an error names; an owner has all of them.
SHOWN = 4


class Command(OperatorCommand):
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
            for table, granted in protection.privileges().items():
                # Those on columns go with those on the table.
                run(cursor, "REVOKE ALL ON {table} FROM {role}", table=table, role=role)
                if granted.table:
                    run(cursor, f"GRANT {granted} ON {{table}} TO {{role}}", table=table, role=role)
            # A superuser, an owner or a member of their roles would keep rights whatever was revoked: check the result.
            if left := protection.excess(role):
                raise CommandError(
                    f"{role} can still {listed(left, SHOWN)}: it owns the tables, is a superuser, or is in such a "
                    "role. Choose another role for the portal.",
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

"""Create a database with its own role, such as Prefect's beside the portal's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connection
from psycopg import sql

from runs.management.cli.command import OperatorCommand


class Command(OperatorCommand):
    help = "Create a role and a database of the same name on the portal's Postgres server, unless they exist."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--password-file", type=Path, required=True, metavar="FILE")

    def handle(self, *args: Any, **options: Any) -> None:
        name = sql.Identifier(options["name"])
        try:
            password = sql.Literal(options["password_file"].read_text().strip())
        except OSError as error:
            raise CommandError(f"{options['password_file']} cannot be read: {error.strerror}.", returncode=1) from error
        statements = []
        with connection.cursor() as cursor:
            # The password is set again each time, so that a changed file takes effect.
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [options["name"]])
            verb = "ALTER" if cursor.fetchone() else "CREATE"
            role = sql.SQL(verb + " ROLE {} LOGIN PASSWORD {}").format(name, password)
            cursor.execute(role.as_string(cursor.connection))
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [options["name"]])
            if not cursor.fetchone():
                statements = [
                    sql.SQL("CREATE DATABASE {} OWNER {}"),
                    sql.SQL("REVOKE CONNECT ON DATABASE {0} FROM PUBLIC"),
                ]
            for statement in statements:
                cursor.execute(statement.format(name, name).as_string(cursor.connection))
        self.stdout.write(f"Database {options['name']}: {'created' if statements else 'exists'}.")

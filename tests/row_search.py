"""Looks for a text in every row of the database: a secret must be in none."""

from django.db import connection
from psycopg import sql


def tables_with(text: str) -> list[str]:
    """Return the names of the tables that have a row with this text in any column."""
    return [table for table in connection.introspection.table_names() if is_in(table, text)]


def is_in(table: str, text: str) -> bool:
    statement = sql.SQL("SELECT EXISTS (SELECT FROM {} AS row WHERE row::text LIKE %s)").format(sql.Identifier(table))
    with connection.cursor() as cursor:
        cursor.execute(statement.as_string(cursor.connection), [f"%{text}%"])
        return bool(cursor.fetchone()[0])

"""What the transaction so far has written, by table, as Postgres counts it."""

from django.db import connection

# Looking at a page is an act of the site itself: who is signed in, and what is cached of that.
NOT_OURS = ("portal_browsersession", "django_content_type")
COUNTS = """
    SELECT coalesce(pg_partition_root(relid), relid)::regclass::text, sum(n_tup_ins + n_tup_upd + n_tup_del)
    FROM pg_stat_xact_user_tables
    WHERE n_tup_ins + n_tup_upd + n_tup_del > 0 AND relname <> ALL(%s)
    GROUP BY 1
"""


def written() -> dict[str, int]:
    """Rows inserted, updated and deleted, those taken back included: table -> count."""
    with connection.cursor() as cursor:
        cursor.execute(COUNTS, [list(NOT_OURS)])
        return {table: int(count) for table, count in cursor.fetchall()}

"""The audit trail in parts, so that old ones can be taken out without touching the others.

There is always one part without an end, which takes whatever is written; it is given an end, and followed by a new one,
by `audit_cut()`. The portal's own role may call that: it can do nothing else to the parts.
"""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

TABLE = "runs_auditentry"
FIRST = f"{TABLE}_from_1"

# Its name, the first entry it may hold; there is exactly one.
OPEN_PART = f"""
    SELECT c.oid::regclass, substring(pg_get_expr(c.relpartbound, c.oid) FROM $re$FROM \\('(\\d+)'\\)$re$)::bigint
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = '{TABLE}'::regclass AND pg_get_expr(c.relpartbound, c.oid) LIKE '%TO (MAXVALUE)'
"""
CUT_HERE = f"""
    CREATE FUNCTION audit_cut_here() RETURNS text LANGUAGE plpgsql SET search_path = {{schema}}, pg_temp AS $body$
    DECLARE
        part regclass;
        lower bigint;
        last bigint;
        next_part text;
    BEGIN
        PERFORM set_config('lock_timeout', '2s', true);
        LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE;
        {OPEN_PART.replace("FROM pg_inherits", "INTO part, lower FROM pg_inherits")};
        EXECUTE format('SELECT max(sequence) FROM %s', part) INTO last;
        IF last IS NULL THEN
            RETURN '';
        END IF;
        next_part := format('{TABLE}_from_%s', last + 1);
        EXECUTE format('ALTER TABLE {TABLE} DETACH PARTITION %s', part);
        EXECUTE format('ALTER TABLE {TABLE} ATTACH PARTITION %s FOR VALUES FROM (%s) TO (%s)', part, lower, last + 1);
        EXECUTE format('CREATE TABLE %I PARTITION OF {TABLE} FOR VALUES FROM (%s) TO (MAXVALUE)', next_part, last + 1);
        EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %I EXECUTE FUNCTION {{no_truncate}}()', next_part);
        RETURN part::text;
    END $body$
"""
# As the owner, whoever calls it; it takes no argument and cuts only what is long or of a month that is over.
CUT = f"""
    CREATE FUNCTION audit_cut(OUT part text) LANGUAGE plpgsql SECURITY DEFINER SET search_path = {{schema}}, pg_temp AS $body$
    DECLARE
        found regclass;
        lower bigint;
        entries bigint;
        began timestamptz;
    BEGIN
        part := '';
        {OPEN_PART.replace("FROM pg_inherits", "INTO found, lower FROM pg_inherits")};
        EXECUTE format('SELECT max(sequence) - min(sequence) + 1 FROM %s', found) INTO entries;
        EXECUTE format('SELECT at FROM %s ORDER BY sequence LIMIT 1', found) INTO began;
        IF entries >= 100000 OR date_trunc('month', began) < date_trunc('month', now()) THEN
            part := audit_cut_here();
        END IF;
    END $body$
"""


def part(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make the table that there is the first part of a new one, with its indexes and triggers; nothing is copied."""
    with schema_editor.connection.cursor() as cursor:

        def ask(query: str) -> list[tuple[str, ...]]:
            cursor.execute(query)
            return cursor.fetchall()

        ((schema,),) = ask("SELECT quote_ident(current_schema())")
        indexes = ask(
            "SELECT c.relname, pg_get_indexdef(c.oid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
            f"WHERE i.indrelid = '{TABLE}'::regclass AND NOT i.indisprimary"
        )
        triggers = ask(
            "SELECT tgname, pg_get_triggerdef(oid), coalesce(obj_description(oid, 'pg_trigger'), '') FROM pg_trigger "
            f"WHERE tgrelid = '{TABLE}'::regclass AND NOT tgisinternal"
        )
        (no_truncate,) = [name for name, _, _ in triggers if "no_truncate" in name]
        cursor.execute(f"ALTER TABLE {TABLE} RENAME TO {FIRST}")
        cursor.execute(f"ALTER TABLE {FIRST} RENAME CONSTRAINT {TABLE}_pkey TO {FIRST}_pkey")
        for name, _ in indexes:
            cursor.execute(f"ALTER INDEX {name} RENAME TO {name}_1")
        for name, _, _ in triggers:
            cursor.execute(f"DROP TRIGGER {name} ON {FIRST}")
        cursor.execute(f"CREATE TABLE {TABLE} (LIKE {FIRST}, PRIMARY KEY (sequence)) PARTITION BY RANGE (sequence)")
        for _, definition in indexes:
            cursor.execute(definition)
        cursor.execute(f"ALTER TABLE {TABLE} ATTACH PARTITION {FIRST} FOR VALUES FROM (1) TO (MAXVALUE)")
        for name, definition, comment in triggers:
            cursor.execute(definition)
            cursor.execute(f"COMMENT ON TRIGGER {name} ON {TABLE} IS '{comment}'")
        # Those of a row are passed on to the parts by Postgres; those of a statement are not.
        cursor.execute(f"CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {FIRST} EXECUTE FUNCTION {no_truncate}()")
        for function in (CUT_HERE, CUT):
            cursor.execute(function.format(schema=schema, no_truncate=no_truncate))


class Migration(migrations.Migration):
    dependencies = [("runs", "0004_audit_parts")]
    operations = [migrations.RunPython(part)]

"""Fills an empty database of the portal; `benchmarks.seed` and `benchmarks.pages` call this.

By SQL, table by table. The audit trail is made by the portal's own code, so that `verify_audit` finds it intact.
Signatures and digests of requests cannot be made by SQL: the seeded requests can be looked at, not launched.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import django

django.setup()

import psycopg  # noqa: E402  (Django must be set up before)
from django.apps import apps  # noqa: E402
from django.contrib.auth.models import Permission, User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.management.color import no_style  # noqa: E402
from django.db import connection, models  # noqa: E402
from django.utils import timezone  # noqa: E402
from psycopg import sql  # noqa: E402
from psycopg.types.json import Jsonb  # noqa: E402

from benchmarks import seed_steps  # noqa: E402
from benchmarks.seed_steps import Progress, Size  # noqa: E402
from flows.models import Deployment, Environment, Health, Server, WorkPool  # noqa: E402
from runs import audit, consumers, events, mirror  # noqa: E402
from runs.audit import signatures  # noqa: E402
from runs.models import AuditEntry, Run  # noqa: E402

PASSWORD = "portal-seed"  # noqa: S105  (of made-up people in a database of its own)
REQUESTERS = 200
# Entries in one COPY, and in one partition.
PART = 100_000
LARGEST = ("runs_run", "runs_logline", "runs_runrequest", "runs_changerequest")
# Those that no constraint needs.
INDEXES = """
    SELECT relname, pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE indrelid = ANY(%s::regclass[]) AND NOT indisunique
"""
VERBS = ("request.submit", "request.approve", "request.launch", "run.cancel", "session.sign_in", "run.appeared")


def main(runs: int) -> int:
    call_command("migrate", verbosity=0, interactive=False)
    if found := what_is_there():
        print(f"This database has {found} already: name an empty one.")
        return 2
    fill(Size.of(runs, timezone.now().replace(microsecond=0)), Progress(f"{runs:,} runs"))
    return 0


def what_is_there() -> str:
    """Return what keeps this database from being filled, such as "12 people"; empty if nothing does."""
    for model, noun in ((User, "people"), (Environment, "environments"), (Deployment, "deployments"), (Run, "runs")):
        if count := model._default_manager.count():
            return f"{count:,} {noun}"
    return ""


def fill(size: Size, progress: Progress) -> None:
    with progress.step("people, environments"):
        add_people(size)
        places = add_environments(size.now)
    connection.ensure_connection()
    with psycopg.connect(connection.connection.info.dsn, autocommit=True) as raw, lent_defaults(raw):
        seed_steps.prepare(raw)
        raw.execute("CREATE TEMP TABLE environment (number int, pk bigint, slug text)")
        raw.cursor().executemany("INSERT INTO environment VALUES (%s, %s, %s)", places)
        raw.execute("CREATE TEMP TABLE consumer (name text)")
        names = [events.RELAY, *consumers.CONSUMERS]
        raw.cursor().executemany("INSERT INTO consumer VALUES (%s)", [(name,) for name in names])
        seed_steps.draft(raw, size, progress)
        with set_aside(raw, progress):
            seed_steps.run(raw, "seed.sql", progress)
        with progress.step("counts of runs"):
            for environment in Environment.objects.all():
                mirror.rebuild_counts(environment)
        with progress.step("audit trail"):
            add_entries(raw, size)
        with progress.step("sequences, statistics"):
            for text in connection.ops.sequence_reset_sql(no_style(), list(apps.get_models())):
                raw.execute(text)  # type: ignore[call-overload]  # made by Django
            raw.execute("VACUUM (ANALYZE)")


def add_people(size: Size) -> None:
    trail = Permission.objects.get(codename="view_auditentry")
    people = [*(f"requester-{number}" for number in range(REQUESTERS)), "approver", "broad", "narrow"]
    joined = size.now - timedelta(days=200)
    User.objects.bulk_create([User(username=name, is_staff=True, date_joined=joined) for name in people])
    administrator = User.objects.create_superuser("administrator", password=PASSWORD)
    for user in (administrator, *User.objects.filter(username__in=["broad", "narrow"])):
        user.set_password(PASSWORD)
        user.save()
        user.user_permissions.add(trail)


def add_environments(now: datetime) -> list[tuple[int, int, str]]:
    """Return the number of each environment in the drafts, its key and its name."""
    places = []
    for number, slug in enumerate(("dev", "staging", "prod"), start=1):
        server = Server.objects.create(api_url=f"http://{slug}.invalid/api")
        is_prod = slug == "prod"
        environment = Environment.objects.create(
            slug=slug, server=server, position=number, is_protected=is_prod, needs_approval=is_prod
        )
        # As after a sync a moment ago, and for as long as anybody measures.
        later = now + timedelta(hours=6)
        Health.objects.create(
            server=server,
            state=Health.State.UP,
            version="3.9.1",
            synced_for=[environment.pk],
            checked_at=later,
            changed_at=now,
            synced_at=later,
            runs_synced_at=later,
            followed_at=later,
        )
        WorkPool.objects.bulk_create(
            WorkPool(
                environment=environment,
                prefect_id=uuid4(),
                name=f"pool-{each}",
                type="process",
                status="READY",
                synced_at=later,
            )
            for each in range(5)
        )
        places.append((number, environment.pk, slug))
    return places


@contextmanager
def lent_defaults(raw: psycopg.Connection[Any]) -> Iterator[None]:
    """Let the database know the defaults of the models, so that SQL need not name every column."""
    columns = [
        (sql.Identifier(model._meta.db_table), sql.Identifier(field.column), default_of(field))
        for model in apps.get_models()
        if model._meta.app_label in ("flows", "runs") and model is not AuditEntry
        for field in model._meta.concrete_fields
        if not (field.null or field.primary_key or field.generated or field.is_relation or field.has_db_default())
    ]
    lent = [(table, column, value) for table, column, value in columns if value is not None]
    for table, column, value in lent:
        raw.execute(sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET DEFAULT {}").format(table, column, sql.Literal(value)))
    try:
        yield
    finally:
        for table, column, _ in lent:
            raw.execute(sql.SQL("ALTER TABLE {} ALTER COLUMN {} DROP DEFAULT").format(table, column))


@contextmanager
def set_aside(raw: psycopg.Connection[Any], progress: Progress) -> Iterator[None]:
    """Drop the indexes of the largest tables and make them again at the end, which takes a third of the time."""
    indexes = raw.execute(INDEXES, [list(LARGEST)]).fetchall()
    for name, _ in indexes:
        raw.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    yield
    with progress.step("indexes"):
        for _, definition in indexes:
            raw.execute(definition)


def default_of(field: models.Field[Any, Any]) -> object:
    """Return what the column of a new row holds; None where each row must say it."""
    value = field.get_default() if field.has_default() else None
    if isinstance(value, dict) or (isinstance(value, list) and isinstance(field, models.JSONField)):
        return Jsonb(value)
    if value is None and isinstance(field, models.CharField | models.TextField):
        return ""
    if isinstance(value, bool | int | float | str | bytes | list):
        return value
    return None


# The audit trail ------------------------------------------------------------------------------------------------------


def add_entries(raw: psycopg.Connection[Any], size: Size) -> None:
    """Write a chained, signed trail over 180 days, in partitions of `PART`."""
    fields = list(AuditEntry._meta.concrete_fields)
    columns = sql.SQL(", ").join(sql.Identifier(field.column) for field in fields)
    into = sql.SQL("COPY runs_auditentry ({}) FROM STDIN").format(columns)
    previous = audit.GENESIS
    for first in range(1, size.entries + 1, PART):
        with raw.transaction():
            # A new entry must carry the current time; these are older. Back in force before the commit.
            raw.execute("ALTER TABLE runs_auditentry DISABLE TRIGGER next_entry")
            found = raw.execute("SELECT pg_current_xact_id()::text::bigint").fetchone()
            current: int = found[0] if found else 0
            with raw.cursor().copy(into) as copy:
                for entry in chained(range(first, min(first + PART, size.entries + 1)), size, previous, current):
                    values = (getattr(entry, field.attname) for field in fields)
                    copy.write_row([Jsonb(value) if isinstance(value, dict) else value for value in values])
                    previous = entry.digest
            raw.execute("ALTER TABLE runs_auditentry ENABLE ALWAYS TRIGGER next_entry")
            if first + PART <= size.entries:
                raw.execute("SELECT audit_cut_here()")


def chained(numbers: Iterable[int], size: Size, previous: str, current: int) -> Iterator[AuditEntry]:
    began = (size.now - timedelta(days=180)).astimezone(UTC)
    apart = timedelta(days=180) / size.entries
    for number in numbers:
        verb = VERBS[number % len(VERBS)]
        is_run = verb.startswith("run.")
        # The broad operator did one of a thousand.
        name = "broad" if number % 1000 == 0 else f"requester-{number * 7 % REQUESTERS}"
        entry = AuditEntry(
            sequence=number,
            at=began + apart * number,
            actor_kind="person",
            actor_id=str(number * 7 % REQUESTERS + 1),
            actor_name=name,
            channel="api" if number % 3 == 0 else "admin",
            address="192.0.2.17",
            user_agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            verb=verb,
            subject_kind="run" if is_run else "runrequest",
            subject_id=str(number if is_run else number // 10 + 1),
            subject_name=f"orders-load/daily {number}",
            environment="prod" if number % 5 else "dev",
            reason="Month end",
            ticket=f"OPS-{number % 5000}",
            before={"state": "waiting"},
            after={"state": "approved"},
            outcome="refused" if number % 50 == 0 else "done",
            previous_digest=previous,
            transaction=current,
        )
        entry.digest = previous = audit.digest(entry)
        entry.signature = signatures.sign(entry)
        yield entry


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))

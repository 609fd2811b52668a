"""Long exports are written in parts, without missing or duplicate rows."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from runs import audit, tasks
from runs.actors import Actor
from runs.audit import export_files
from runs.models import AuditEntry, Export, QueuedTask
from tests.cast import by

pytestmark = pytest.mark.django_db


def note(name: str) -> None:
    with audit.act("grant.give", None, by=Actor.system("test"), subject_kind="grant", subject_name=name):
        pass


@pytest.fixture
def seven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_files, "ROWS_A_PART", 3)
    for number in range(7):
        note(f"thing {number}")


def ask(person: User, file_format: str = "jsonl", **criteria: str) -> Export:
    return export_files.request_export(criteria, file_format=file_format, up_to=7, total=7, by=by(person))


def text(export: Export) -> str:
    return b"".join(export_files.piece(export, number) for number in range(export.parts.count())).decode()


def test_the_file_holds_every_row_once(seven: None, auditor: User) -> None:
    export = ask(auditor)
    note("written later")
    tasks.export_audit(export.pk)
    export.refresh_from_db()
    assert (export.state, export.rows, export.per_cent) == ("ready", 7, 100)
    assert [json.loads(line)["sequence"] for line in text(export).splitlines()] == [7, 6, 5, 4, 3, 2, 1]
    assert export.size == len(text(export).encode())


def test_csv_begins_with_its_headings_once(seven: None, auditor: User) -> None:
    export = ask(auditor, "csv")
    export_files.build_export(export)
    rows = text(export).removeprefix("\ufeff").splitlines()
    assert rows[0].startswith("sequence,at,")
    assert len(rows) == 8


def test_only_what_the_filters_let_through_is_in_it(seven: None, auditor: User) -> None:
    export = ask(auditor, q="thing 4")
    export_files.build_export(export)
    assert [json.loads(line)["subject_name"] for line in text(export).splitlines()] == ["thing 4"]


def test_what_does_not_fit_into_one_task_is_queued(seven: None, auditor: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_files, "SECONDS_A_TASK", -1)
    export = ask(auditor)
    QueuedTask.objects.update(taken_at=timezone.now())
    queued = QueuedTask.objects.count()
    export_files.build_export(export)
    export.refresh_from_db()
    assert (export.rows, export.state, export.per_cent) == (3, "wanted", 42)
    assert QueuedTask.objects.count() == queued + 1
    export_files.build_export(export)
    export_files.build_export(export)
    export.refresh_from_db()
    assert export.state == "ready"
    assert len(text(export).splitlines()) == 7


def test_a_task_that_comes_twice_adds_nothing(seven: None, auditor: User) -> None:
    export = ask(auditor)
    for _ in range(3):
        export_files.build_export(export)
    assert len(text(export).splitlines()) == 7


def test_an_export_of_nothing_is_an_empty_file(seven: None, auditor: User) -> None:
    export = ask(auditor, actor_name="nobody")
    export_files.build_export(export)
    export.refresh_from_db()
    assert (export.state, text(export)) == ("ready", "")


def test_asking_is_audited(seven: None, auditor: User) -> None:
    ask(auditor, q="thing")
    entry = AuditEntry.objects.latest("sequence")
    assert (entry.verb, entry.actor_name) == ("audit.export", "auditor")
    assert entry.after["filters"] == {"q": "thing"}


def test_files_are_thrown_away_when_their_time_is_over(seven: None, auditor: User) -> None:
    old, new = ask(auditor), ask(auditor)
    export_files.build_export(old)
    Export.objects.filter(pk=old.pk).update(forgotten_at=timezone.now() - timedelta(seconds=1))
    tasks.maintain_audit()
    assert [export.pk for export in Export.objects.all()] == [new.pk]

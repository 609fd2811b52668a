"""Whether the processes live: the pages that probes ask, and the checks that containers run."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone
from django_q.models import Schedule
from psycopg.conninfo import conninfo_to_dict

from portal import settings
from portal.ops import probe, views
from runs import periodic, queue
from runs.models import QueuedTask


def test_living_needs_no_database(client: Client) -> None:
    assert client.get("/health/live").json() == {"status": "live"}


@pytest.mark.django_db
def test_ready_with_a_migrated_database(client: Client) -> None:
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.django_db
def test_not_ready_while_migrations_are_missing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "known_migrations", lambda: frozenset({("runs", "9999_later")}))
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json() == {"status": views.PENDING_MIGRATIONS}


@pytest.mark.django_db
def test_not_ready_without_a_database(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*arguments: Any, **names: Any) -> None:
        raise OperationalError("secret host is down")

    monkeypatch.setattr(connection, "cursor", gone)
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json() == {"status": views.NO_DATABASE}
    assert b"secret host" not in answer.content


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_only_reading_is_answered(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405


# What a container asks


@pytest.fixture
def own(own_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks open connections of their own, to the database this test commits to."""
    monkeypatch.setattr(probe, "conninfo", lambda: own_database)


@pytest.mark.usefixtures("own")
def test_the_background_is_alive_when_nothing_is_overdue() -> None:
    periodic.sync_schedules()
    queue.enqueue("runs.tasks.sync_all")
    assert probe.check_tasks() == ""


@pytest.mark.usefixtures("own")
def test_overdue_schedules_mean_that_nobody_looks() -> None:
    periodic.sync_schedules()
    Schedule.objects.update(next_run=timezone.now() - timedelta(minutes=10))
    assert probe.check_tasks() == probe.NO_SCHEDULER


@pytest.mark.usefixtures("own")
def test_an_old_task_means_that_nobody_takes_it_unless_another_is_being_run() -> None:
    queue.enqueue("runs.tasks.sync_all")
    QueuedTask.objects.update(queued_at=timezone.now() - timedelta(minutes=10))
    assert probe.check_tasks() == probe.NO_PROCESS
    queue.enqueue("runs.tasks.expire")
    QueuedTask.objects.filter(task="runs.tasks.expire").update(taken_at=timezone.now())
    assert probe.check_tasks() == ""


def test_the_check_connects_with_the_options_of_the_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    # With what only Django and its pool understand, libpq refuses the whole string.
    address = settings.database("postgresql://portal@db.example.com:5433/portal?sslmode=require")
    monkeypatch.setitem(settings.DATABASES, "default", address | {"OPTIONS": address["OPTIONS"] | {"pool": {}}})
    found = conninfo_to_dict(probe.conninfo())
    assert found == {
        "user": "portal",
        "host": "db.example.com",
        "port": "5433",
        "dbname": "portal",
        "sslmode": "require",
        "options": "-c join_collapse_limit=4 -c random_page_cost=1.1",
    }


def test_a_database_that_is_away_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "conninfo", lambda: "host=127.0.0.1 port=1 dbname=x")
    assert "OperationalError" in probe.check_tasks()


def test_the_follower_lives_while_its_file_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beat = tmp_path / "beat"
    monkeypatch.setattr(settings, "HEARTBEAT_FILE", str(beat))
    assert "PORTAL_HEARTBEAT" in probe.check_follower()
    beat.touch()
    assert probe.check_follower() == ""
    os.utime(beat, (time.time() - 300,) * 2)
    assert "300 s" in probe.check_follower()


def test_a_web_process_that_is_away_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert probe.main(["web", "1"]) == 1
    assert "web" in capsys.readouterr().err


def test_an_unknown_process_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert probe.main([]) == probe.main(["cleaner"]) == 2
    assert "web, background, follower" in capsys.readouterr().err

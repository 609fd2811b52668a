"""The commands of schedules, and the methods behind them."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment
from runs.models import Schedule
from tests.made_schedules import let_schedule
from tests.portal.client.in_process import Commands, Portals

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner(requester: User, deployment: Deployment) -> User:
    let_schedule(requester, deployment)
    return requester


def until(days: int = 20) -> str:
    return (timezone.now() + timedelta(days=days)).isoformat()


def add(command: Commands, owner: User, *words: str) -> str:
    fixed = ("add-schedule", "monthly/monthly", "-e", "dev", "--name", "nightly", "-p", "month=2026-10")
    ended = command(owner, *fixed, "--until", until(), *words)
    assert ended.code == 0, ended.err
    return str(Schedule.objects.latest("pk").pk)


def test_one_is_added_listed_and_shown(command: Commands, owner: User) -> None:
    number = add(command, owner, "--cron", "0 6 * * *", "--time-zone", "Europe/Vienna", "--catch-up", "last")
    schedule = Schedule.objects.get()
    assert (schedule.rule, schedule.time_zone, schedule.catch_up) == ("0 6 * * *", "Europe/Vienna", "last")
    (listed,) = json.loads(command(owner, "schedules", "-e", "dev", "--json").out)
    assert (str(listed["id"]), listed["state"]) == (number, "active")
    shown = json.loads(command(owner, "schedule", number, "--json").out)
    assert len(shown["next_starts"]) == 10


def test_it_is_paused_resumed_renewed_and_ended(command: Commands, owner: User) -> None:
    number = add(command, owner, "--every", "6h")
    assert "paused" in command(owner, "pause-schedule", number).out
    assert "active" in command(owner, "resume-schedule", number).out
    assert command(owner, "renew-schedule", number, "--until", until(30)).code == 0
    assert Schedule.objects.get(pk=number).state == "ended"
    renewed = str(Schedule.objects.latest("pk").pk)
    assert "ended" in command(owner, "end-schedule", renewed).out
    assert command(owner, "end-schedule", renewed).code == 1


def test_the_times_of_a_rule_are_printed(command: Commands, owner: User) -> None:
    assert len(command(owner, "next-times", "--rrule", "FREQ=WEEKLY;BYDAY=MO").out.split()) == 20
    assert command(owner, "next-times", "--cron", "soon").code == 1
    assert not Schedule.objects.exists()


def test_a_program_does_the_same(portal: Portals, owner: User, deployment: Deployment) -> None:
    end = timezone.now() + timedelta(days=9)
    with portal(owner) as client:
        options = {"name": "n", "rule_type": "cron", "rule": "0 6 * * *", "valid_until": end, "key": "k"}
        first, same = (client.add_schedule("dev", "monthly", {"month": "2026-10"}, **options) for _ in range(2))
        assert first == same
        assert client.pause_schedule(first.id).state == "paused"
        assert client.resume_schedule(first.id).state == "active"
        later = client.replace_schedule(first.id, valid_until=end + timedelta(days=1), rule="0 7 * * *")
        assert (later.replaces, later.rule) == (first.id, "0 7 * * *")
        assert [row.id for row in client.schedules("dev", state=["active"])] == [later.id]
        assert client.end_schedule(later.id).state == "ended"
        assert len(client.next_times("interval", "1d").times) == 10


def test_one_that_prefect_keeps_is_requested_and_put_back(command: Commands, owner: User) -> None:
    number = add(command, owner, "--cron", "0 6 * * *", "--native")
    assert json.loads(command(owner, "schedule", number, "--json").out)["native"] is True
    # Nothing was saved in Prefect yet, so it is missing there.
    assert command(owner, "put-back-schedule", number).code == 0

"""The commands of backfills, and the methods behind them."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import User

from flows.models import Deployment
from runs import tasks
from runs.models import ChangeRequest
from tests.portal.client.in_process import Commands, Portals

pytestmark = pytest.mark.django_db

WORDS = ("backfill", "monthly/monthly", "-e", "dev", "--range", "month=2026-01..2026-03")


def test_without_yes_only_the_plan_is_shown(command: Commands, requester: User, deployment: Deployment) -> None:
    ended = command(requester, *WORDS)
    assert ended.code == 0
    assert "3 items: 3 to run, 0 skipped, 0 refused." in ended.out
    assert "month=2026-02" in ended.out
    assert "--yes" in ended.out
    assert not ChangeRequest.objects.exists()


def test_with_yes_exactly_the_plan_is_requested(command: Commands, requester: User, deployment: Deployment) -> None:
    ended = command(requester, *WORDS, "--range", "rows=1,2", "--at-once", "2", "--go-on", "--yes")
    assert ended.code == 0, ended.err
    change = ChangeRequest.objects.get()
    assert change.pacing == {"at_once": 2, "on_failure": "go_on"}
    assert change.run_requests.count() == 6
    assert f"Backfill {change.pk}, 6 runs" in ended.out


def test_a_refused_item_is_a_refusal_unless_it_is_left_out(
    command: Commands, requester: User, deployment: Deployment
) -> None:
    words = ("backfill", "monthly/monthly", "-e", "dev", "--range", "rows=0..2", "-p", "month=2026-01")
    assert command(requester, *words).code == 1
    assert command(requester, *words, "--yes").code == 1
    assert command(requester, *words, "--yes", "--leave-out-refused").code == 0
    assert ChangeRequest.objects.get().run_requests.count() == 2


def test_the_plan_is_a_json_document(command: Commands, requester: User, deployment: Deployment) -> None:
    plan = json.loads(command(requester, *WORDS, "--json").out)
    assert plan["to_run"] == 3


def test_it_is_paused_resumed_and_cut_short(command: Commands, requester: User, deployment: Deployment) -> None:
    command(requester, *WORDS, "--yes", "--at-once", "1")
    tasks.advance_changes()
    number = str(ChangeRequest.objects.get().pk)
    assert "paused" in command(requester, "pause-backfill", number).out
    assert command(requester, "resume-backfill", number).code == 0
    assert "3 withdrawn" in command(requester, "cancel-rest", number).out


def test_a_program_plans_and_requests(portal: Portals, requester: User, deployment: Deployment) -> None:
    with portal(requester) as client:
        plan = client.plan_backfill("dev", "monthly", {"month": ["2026-01", "2026-02"]})
        change = client.backfill("dev", "monthly", {"month": ["2026-01", "2026-02"]}, plan=plan.digest, key="k")
        same = client.backfill("dev", "monthly", {"month": ["2026-01", "2026-02"]}, plan=plan.digest, key="k")
        assert (change.id, change.progress, len(change.requests)) == (same.id, "running", 2)
        assert client.pause_backfill(change.id).progress == "paused"
        assert client.resume_backfill(change.id).progress == "running"
        assert client.cancel_rest(change.id).state == "withdrawn"

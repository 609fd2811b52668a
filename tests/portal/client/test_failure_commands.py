"""The command of failures, and the methods behind it."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import User

from flows.models import Deployment
from runs.models import FailureGroup
from tests.failed_runs import a_failure
from tests.portal.client.in_process import Commands

pytestmark = pytest.mark.django_db


def test_failures_are_listed_and_shown(command: Commands, requester: User, deployment: Deployment) -> None:
    group = a_failure(deployment)
    ended = command(requester, "failures", "list", "-e", "dev", "--state", "open")
    assert ended.code == 0
    assert "ValueError: bad row" in ended.out
    assert "no such failures" in command(requester, "failures", "list", "--owner", "otto").out
    shown = command(requester, "failures", "show", str(group.pk))
    assert "1 failures" in shown.out
    found = json.loads(command(requester, "failures", "show", str(group.pk), "--json").out)
    assert (found["id"], found["days"][0]["failures"]) == (group.pk, 1)
    assert command(requester, "failures", "show", "999999").code == 3


def test_they_are_dealt_with(command: Commands, requester: User, viewer: User, deployment: Deployment) -> None:
    number = str(a_failure(deployment).pk)
    assert "known, owner requester" in command(requester, "failures", "own", number, "requester").out
    assert "muted" in command(requester, "failures", "mute", number, "--until", "2027-01-01T00:00Z").out
    assert "known" in command(requester, "failures", "acknowledge", number).out
    assert command(requester, "failures", "note", number, "asked the supplier").code == 0
    assert command(viewer, "failures", "resolve", number, "--reason", "fixed").code == 2
    assert "resolved" in command(requester, "failures", "resolve", number, "--reason", "fixed").out
    assert FailureGroup.objects.get().state == "resolved"


def test_a_refused_retry_is_named(command: Commands, requester: User, deployment: Deployment) -> None:
    ended = command(requester, "failures", "retry", str(a_failure(deployment).pk), "--reason", "again")
    assert ended.code == 1
    assert "retry.external" in ended.out

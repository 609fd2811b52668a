"""`verify_audit --json`: the result for scripts."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection

from flows.models import Deployment
from runs import requests
from runs.models import AuditEntry
from tests.cast import by

pytestmark = pytest.mark.django_db


def verified(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    call_command("verify_audit", "--json")
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_an_intact_trail(deployment: Deployment, requester: User, capsys: pytest.CaptureFixture[str]) -> None:
    requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    last = AuditEntry.objects.first()
    assert last
    found = verified(capsys)
    assert (found["intact"], found["entries"], found["head"]) == (True, AuditEntry.objects.count(), last.digest)


def test_a_changed_entry(deployment: Deployment, requester: User, capsys: pytest.CaptureFixture[str]) -> None:
    requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE runs_auditentry DISABLE TRIGGER USER")
        cursor.execute("UPDATE runs_auditentry SET actor_name = 'somebody' WHERE verb = 'request.submit'")
    with pytest.raises(CommandError):
        call_command("verify_audit", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["intact"] is False
    assert found["message"]

"""Pins by the API and by the command."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from flows.models import Deployment, Environment
from runs import pins
from runs.models import Pin, TokenScope
from tests.cast import by
from tests.portal.api.programs import Programs
from tests.portal.client.in_process import Commands

pytestmark = pytest.mark.django_db


def test_a_deployment_is_pinned_listed_and_unpinned(requester: User, deployment: Deployment, program: Programs) -> None:
    caller = program(requester)
    place = f"/environments/dev/deployments/{deployment.full_name}"
    for _ in range(2):
        answer = caller.post(f"{place}/pin")
        assert (answer.status, answer.body["name"]) == (200, "monthly/monthly")
    assert [row["name"] for row in caller.get("/pins").body["items"]] == ["monthly/monthly"]
    assert caller.get("/pins?environment=prod").body["items"] == []
    assert caller.post(f"/environments/dev/deployments/{deployment.prefect_id}/unpin").status == 200
    assert caller.get("/pins").body["items"] == []


def test_a_token_pins_and_lists_within_its_scope(
    requester: User, dev: Environment, deployment: Deployment, prod_deployment: Deployment, program: Programs
) -> None:
    for each in (deployment, prod_deployment):
        pins.pin(each, by=by(requester))
    caller = program(requester, TokenScope(verbs=["see"], environment=dev))
    assert [row["environment"] for row in caller.get("/pins").body["items"]] == ["dev"]
    for verb in ("pin", "unpin"):
        assert caller.post(f"/environments/prod/deployments/{prod_deployment.full_name}/{verb}").status == 404
    assert Pin.objects.count() == 2


def test_the_command_pins(requester: User, deployment: Deployment, command: Commands) -> None:
    assert "Pinned monthly/monthly in dev." in command(requester, "pin", "monthly", "-e", "dev").out
    assert "monthly/monthly" in command(requester, "pins").out
    assert "Unpinned" in command(requester, "unpin", "monthly", "-e", "dev").out
    assert "pinned no deployment" in command(requester, "pins", "-e", "dev").out
    assert command(requester, "pin", "none", "-e", "dev").code == 3

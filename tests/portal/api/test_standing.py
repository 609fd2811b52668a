"""Whether runs can start and when windows open, and what the inbox says of the definition, by the API."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from django.contrib.auth.models import User

from flows.models import Alias, Deployment, Environment
from runs import changes, dispatch, requests
from runs.governance import freezes
from runs.models import Grant, Policy, RunRequest, Window
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.api.programs import Programs

pytestmark = pytest.mark.django_db
HOURS = {"minutes": 60, "time_zone": "Europe/Vienna", "effect": "allow"}


def at(moment: str) -> str:
    return f"at={quote(moment)}"


def test_a_freeze_is_named(
    dev: Environment, deployment: Deployment, requester: User, admin_user: User, program: Programs
) -> None:
    caller = program(requester)
    found = caller.get("/environments/dev/standing").body
    assert (found["is_open"], found["why"], found["freeze"], found["windows"]) == (True, "", None, [])
    freezes.freeze(dev, by=by(admin_user), reason="Audit")
    found = caller.get("/environments/dev/standing").body
    assert (found["is_open"], found["freeze"], found["opens_at"]) == (False, "Audit", None)
    for part in ("dev", "administrator", "Audit"):
        assert part in found["why"]


def test_the_hours_of_a_deployment(deployment: Deployment, requester: User, stranger: User, program: Programs) -> None:
    Window.objects.create(name="crm night", tag="crm", cron="0 22 * * *", **HOURS)
    Window.objects.create(name="other night", tag="other", cron="0 23 * * *", **HOURS)
    caller, path = program(requester), "/environments/dev/standing"
    found = caller.get(f"{path}?deployment=monthly&{at('2026-11-20T12:00Z')}").body
    assert (found["deployment"], found["is_open"], found["opens_at"]) == (
        "monthly/monthly",
        False,
        "2026-11-20T21:00:00Z",
    )
    assert [(row["name"], row["is_open"]) for row in found["windows"]] == [("crm night", False)]
    found = caller.get(f"{path}?deployment=monthly&{at('2026-11-20T21:30Z')}").body
    assert (found["is_open"], found["windows"][0]["changes_at"]) == (True, "2026-11-20T22:00:00Z")
    # A deployment's own window does not affect the others.
    assert caller.get(f"{path}?{at('2026-11-20T12:00Z')}").body["is_open"]
    assert program(stranger).get(path).status == 404
    assert caller.get(f"{path}?deployment=none").code == "deployment.unknown"


def test_no_rule_about_what_is_not_visible_is_named(
    dev: Environment, deployment: Deployment, viewer: User, program: Programs
) -> None:
    Grant.objects.create(
        person=viewer, verbs=["see"], effect="deny", environment=dev, flow_name="secret", granted_by_name="test"
    )
    Window.objects.create(name="w", full_name="secret/secret", cron="0 22 * * *", minutes=60)
    found = program(viewer).get("/environments/dev/standing")
    assert (found.status, found.body["windows"]) == (200, [])
    assert "secret" not in str(found.body)


@pytest.mark.parametrize(
    ("moment", "code"),
    [
        ("2026-11-20T12:00", "request.invalid"),
        ("soon", "request.invalid"),
        ("9999-12-31T23:59Z", "time.format"),
        ("0001-01-01T00:00+14:00", "time.format"),
        ("2090-01-01T00:00Z", "time.format"),
    ],
)
def test_a_time_that_cannot_be_looked_up(
    deployment: Deployment, requester: User, program: Programs, moment: str, code: str
) -> None:
    answer = program(requester).get(f"/environments/dev/standing?{at(moment)}")
    assert (answer.status, answer.code) == (422, code)


# Aliases and the inbox ------------------------------------------------------------------------------------------------


def test_the_aliases_of_a_deployment(
    deployment: Deployment, prod_deployment: Deployment, requester: User, program: Programs
) -> None:
    for name in ("nightly-load", "books"):
        Alias.objects.create(environment=deployment.environment, name=name, full_name="monthly/monthly")
    caller = program(requester)
    rows = {row["environment"]: row["aliases"] for row in caller.get("/deployments").body["items"]}
    assert rows == {"dev": ["books", "nightly-load"], "prod": []}
    for name in ("books", "monthly", str(deployment.prefect_id)):
        assert caller.get(f"/environments/dev/deployments/{name}").body["aliases"] == ["books", "nightly-load"]


def test_the_inbox_names_what_changed_in_the_definition(
    prod_deployment: Deployment, requester: User, approver: User, prod_fake: FakePrefect, program: Programs
) -> None:
    Policy.objects.create(name="rule", risk="high")

    def submit(month: str) -> RunRequest:
        return requests.submit(prod_deployment, {"month": month}, by=by(requester), reason="Month end")

    first, caller = submit("2026-10"), program(approver)
    (row,) = caller.get("/inbox").body
    assert (row["risk"], row["changed"], bool(row["not_pinned"])) == ("high", ["first approval"], True)
    changes.approve(first.change, by=by(approver), displayed_digest=first.change.digest)
    first.refresh_from_db()
    dispatch.launch(first)
    Deployment.objects.filter(pk=prod_deployment.pk).update(
        definition=prod_deployment.definition | {"entrypoint": "other.py:flow"}
    )
    submit("2026-11")
    (row,) = caller.get("/inbox").body
    assert row["changed"] == ["entrypoint"]
    assert program(requester).get("/inbox").body == []

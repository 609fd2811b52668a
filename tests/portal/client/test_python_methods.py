"""Each method of `Portal`, against the real API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.catalog import sync
from flows.models import Alias, Deployment, Environment
from portal.client import Conflict, CRMDeployments, Forbidden, Invalid, NotFound, Portal
from runs import events, mirror, requests
from runs.models import Action, AuditEntry, ChangeRequest, Grant, Run, TokenScope, Window
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.client.in_process import Portals
from tests.portal.client.played_runs import play

pytestmark = pytest.mark.django_db
NAME, VALUES = "monthly/monthly", {"month": "2026-10"}


@pytest.fixture
def waiting(requester: User, prod_deployment: Deployment) -> ChangeRequest:
    return requests.submit(prod_deployment, VALUES, by=by(requester), reason="Month end").change


@pytest.fixture
def delegate(dev: Environment, stranger: User) -> User:
    verbs = ["see", "manage", "pause"]
    Grant.objects.create(person=stranger, verbs=verbs, environment=dev, granted_by_name="test")
    return stranger


def test_the_token_names_its_person(requester: User, portal: Portals) -> None:
    me = portal(requester, TokenScope(verbs=["see"])).me()
    assert (me.user, me.token_name, me.scopes[0].verbs) == ("requester", "test", ["see"])


def test_environments_and_their_health(requester: User, deployment: Deployment, portal: Portals) -> None:
    client = portal(requester)
    assert [each.name for each in client.environments()] == ["dev", "prod"]
    assert client.health("dev").health
    with pytest.raises(NotFound):
        client.health("none")


def test_a_name_in_a_path_leads_nowhere_else(requester: User, deployment: Deployment, portal: Portals) -> None:
    with pytest.raises(NotFound):
        portal(requester).health("dev/deployments")
    with pytest.raises(NotFound):
        portal(requester).health("../me")


def test_all_pages_are_read(
    requester: User, dev: Environment, deployment: Deployment, fake: FakePrefect, a_run: Any, portal: Portals
) -> None:
    names = {a_run(name=f"run-{number}").name for number in range(5)}
    assert {each.name for each in portal(requester).runs("dev", limit=2)} == names


@pytest.mark.parametrize("by_what", ["full name", "flow", "id", "row"])
def test_a_deployment_is_found(requester: User, deployment: Deployment, portal: Portals, by_what: str) -> None:
    client = portal(requester)
    (row,) = client.deployments("dev")
    names: dict[str, Any] = {"full name": NAME, "flow": "monthly", "id": deployment.prefect_id, "row": row}
    found = client.deployment("dev", names[by_what])
    assert (found.name, found.parameter_schema["required"], found.may_run) == (NAME, ["month"], True)
    assert found.etag


def test_an_unknown_or_ambiguous_name_is_not_guessed(
    requester: User, deployment: Deployment, fake: FakePrefect, portal: Portals
) -> None:
    client = portal(requester)
    with pytest.raises(NotFound) as refused:
        client.deployment("dev", "none")
    assert refused.value.code == "deployment.unknown"


def test_a_run_is_requested_and_read(requester: User, deployment: Deployment, portal: Portals) -> None:
    client = portal(requester)
    change = client.run("dev", NAME, VALUES, tags=["nightly"], run_name="October")
    assert (change.state, change.requests[0].state, change.specs[0].tags) == ("approved", "approved", ["nightly"])
    assert client.request(change.requests[0].id).deployment == NAME
    assert client.change(change.id).digest == change.digest
    assert [each.id for each in client.changes("dev")] == [change.id]
    assert [each.id for each in client.requests("dev", state=["approved"])] == [change.requests[0].id]


def test_the_same_key_is_one_request(requester: User, deployment: Deployment, portal: Portals) -> None:
    client = portal(requester)
    first, second = (client.run("dev", NAME, values, key="nightly-1") for values in (VALUES, dict(VALUES)))
    assert first == second
    assert client.run("dev", NAME, VALUES).id != first.id


def test_each_wrong_value_is_named(requester: User, deployment: Deployment, portal: Portals) -> None:
    with pytest.raises(Invalid) as refused:
        portal(requester).run("dev", NAME, {"rows": "many"})
    assert (refused.value.status, refused.value.code) == (422, "parameters.invalid")
    assert {each.field for each in refused.value.errors} == {"month", "rows"}


def test_what_is_not_permitted(viewer: User, deployment: Deployment, portal: Portals) -> None:
    with pytest.raises(Forbidden) as refused:
        portal(viewer).run("dev", NAME, VALUES)
    assert refused.value.code == "access.no_grant"


def test_what_was_read_is_approved(approver: User, waiting: ChangeRequest, portal: Portals) -> None:
    client = portal(approver)
    (found,) = client.inbox()
    with pytest.raises(Conflict) as refused:
        client.approve(found.id, digest="0" * 64)
    assert refused.value.code == "approval.stale"
    approved = client.approve(found.id, "Looked at the values")
    assert (approved.state, approved.approvals[0].reason) == ("approved", "Looked at the values")
    assert client.inbox() == []


def test_comment_reject_and_withdraw(
    requester: User, approver: User, waiting: ChangeRequest, prod_deployment: Deployment, portal: Portals
) -> None:
    client = portal(approver)
    assert client.comment(waiting.pk, "Why now?").comments[0].text == "Why now?"
    assert client.reject(waiting.pk, "Not today").state == "rejected"
    mine = portal(requester).run("prod", NAME, {"month": "2026-11"}, reason="Month end")
    assert portal(requester).withdraw(mine.id).state == "withdrawn"


@pytest.mark.parametrize("by_what", ["id", "name", "row"])
def test_a_run_is_read_and_cancelled(requester: User, a_run: Callable[..., Run], portal: Portals, by_what: str) -> None:
    row, client = a_run(), portal(requester)
    (listed,) = client.runs("dev", state=["RUNNING"])
    reference: Any = {"id": str(row.prefect_id), "name": row.name, "row": listed}[by_what]
    assert client.run_status(reference).state == "RUNNING"
    action = client.cancel(reference, "Wrong month")
    assert (action.kind, client.action(action.id).id) == ("cancel", action.id)
    with pytest.raises(Conflict):
        client.cancel(reference, "Wrong month")
    assert Action.objects.get().requested_by_name == "requester"


def test_a_request_without_a_run_has_no_status(requester: User, deployment: Deployment, portal: Portals) -> None:
    client = portal(requester)
    request = client.run("dev", NAME, VALUES).requests[0]
    with pytest.raises(Conflict) as refused:
        client.run_status(request)
    assert refused.value.code == "run.not_started"
    with pytest.raises(NotFound):
        client.run_status(f"request:{request.id}")
    with pytest.raises(NotFound):
        client.run_status(uuid4())


def test_the_name_of_two_runs_is_ambiguous(requester: User, a_run: Callable[..., Run], portal: Portals) -> None:
    a_run(name="twin")
    a_run(name="twin")
    with pytest.raises(NotFound) as refused:
        portal(requester).run_status("twin")
    assert refused.value.code == "run.ambiguous"


def test_a_failed_run_is_retried(requester: User, deployment: Deployment, fake: FakePrefect, portal: Portals) -> None:
    client = portal(requester)
    request = client.run("dev", NAME, VALUES).requests[0]
    play(request.id, fake, "FAILED")
    made = client.retry(client.request(request.id), "Network was down").action
    assert made
    assert (made.kind, client.action(made.id).requested_by) == ("retry", "requester")


def test_a_rerun_an_override_and_a_recovery(
    requester: User, deployment: Deployment, dev: Environment, a_run: Callable[..., Run], portal: Portals
) -> None:
    client = portal(requester)
    request = client.run("dev", NAME, VALUES).requests[0]
    again = client.rerun(request.id, {"rows": 7}, key="again-1")
    assert (again.id, again.specs[0].parameters) == (
        client.rerun(request.id, {"rows": 7}, key="again-1").id,
        {"month": "2026-10", "rows": 7, "token": "••••••"},
    )
    Grant.objects.create(person=requester, verbs=["override freeze"], environment=dev, granted_by_name="test")
    assert client.override(request.id, "Cannot wait").id == request.id
    row = a_run("PENDING", name="quiet-otter")
    Run.objects.filter(pk=row.pk).update(stalled_kind="pending", stalled_since=timezone.now())
    (listed,) = client.runs("dev", stalled="true")
    assert (listed.name, listed.stalled) == ("quiet-otter", "pending")
    assert client.recover(listed, "put back", "Host rebooted").kind == "put back"


def test_windows_and_aliases(requester: User, deployment: Deployment, portal: Portals) -> None:
    Alias.objects.create(environment=deployment.environment, name="books", full_name=NAME)
    Window.objects.create(name="night", cron="0 22 * * *", minutes=60, time_zone="UTC")
    client = portal(requester)
    (row,) = client.deployments("dev")
    assert row.aliases == ["books"]
    found = client.windows("dev", row, at=datetime(2026, 11, 30, 12, tzinfo=UTC))
    assert (found.is_open, found.opens_at) == (False, datetime(2026, 11, 30, 22, tzinfo=UTC))
    assert [each.name for each in client.windows("dev").windows] == ["night"]


def test_a_deployment_is_paused_as_it_was_read(delegate: User, deployment: Deployment, portal: Portals) -> None:
    client = portal(delegate)
    read = client.deployment("dev", NAME)
    Deployment.objects.filter(pk=deployment.pk).update(definition_fingerprint="other")
    with pytest.raises(Conflict) as refused:
        client.pause("dev", read, "broken")
    assert (refused.value.status, refused.value.code) == (412, "precondition.failed")
    assert client.pause("dev", NAME, "broken").kind == "pause"


def test_resume(delegate: User, deployment: Deployment, portal: Portals) -> None:
    Deployment.objects.filter(pk=deployment.pk).update(is_paused=True)
    assert portal(delegate).resume("dev", NAME, "repaired").kind == "resume"


def test_why_and_who_can(requester: User, deployment: Deployment, portal: Portals) -> None:
    client = portal(requester)
    assert client.why("trigger", "dev", NAME).allowed
    assert not portal(requester, TokenScope(verbs=["see"])).why("trigger", "dev", NAME, VALUES).allowed
    (found,) = client.who_can("dev", NAME, "trigger")
    assert "requester" in [each.name for each in found.allowed]


def test_grant_and_revoke(delegate: User, viewer: User, deployment: Deployment, portal: Portals) -> None:
    client = portal(delegate)
    made = client.grant("viewer", ["see"], "dev", reason="On call").grant
    assert made
    assert made.id in [each.id for each in client.grants("dev")]
    revoked = client.revoke(made.id).grant
    assert revoked
    assert revoked.revoked_at


def test_freeze_and_unfreeze(delegate: User, deployment: Deployment, portal: Portals) -> None:
    client = portal(delegate)
    assert client.freeze("dev", "Audit").reason == "Audit"
    with pytest.raises(Conflict):
        client.freeze("dev", "Again")
    assert client.unfreeze("dev", "Over").change is None


def test_the_audit_trail(requester: User, deployment: Deployment, portal: Portals) -> None:
    client = portal(requester)
    client.run("dev", NAME, VALUES)
    (entry,) = client.audit(verb=["request.submit"])
    assert (entry.actor, entry.channel, entry.outcome) == ("requester", "api", "done")
    assert AuditEntry.objects.filter(verb="request.submit").count() == 1


def test_the_log_of_a_run(requester: User, a_run: Callable[..., Run], fake: FakePrefect, portal: Portals) -> None:
    row = a_run()
    fake.add_log(row.prefect_id, "one", level=20)
    fake.add_log(row.prefect_id, "two", level=40)
    mirror.fetch_details(row.environment, [row.prefect_id])
    client = portal(requester)
    assert [each.message for each in client.logs(row.name)] == ["one", "two"]
    assert [each.message for each in client.logs(row.name, level=40)] == ["two"]


def test_the_steps_of_the_former_client_take_as_few_lines(
    requester: User, dev: Environment, fake: FakePrefect, transport: Any, program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.add_deployment(flow_name=CRMDeployments.DATA_ACQUISITION, name=CRMDeployments.DATA_ACQUISITION)
    sync.sync(dev)
    monkeypatch.setenv("PORTAL_ADDRESS", "https://testserver")
    monkeypatch.setenv("PORTAL_TOKEN", program(requester).text)

    portal = Portal(transport=transport)
    environment = portal.health("dev")
    deployments = list(portal.deployments("dev"))
    change = portal.run("dev", CRMDeployments.DATA_ACQUISITION, {})
    request = portal.request(change.requests[0].id)

    assert (environment.name, len(deployments), request.state) == ("dev", 1, "approved")


def test_past_events_are_listed(requester: User, prod_deployment: Deployment, portal: Portals) -> None:
    client = portal(requester)
    change = client.run("prod", "monthly/monthly", {"month": "2026-10"}, reason="Month end")
    events.relay()
    (found,) = client.events("prod")
    assert (found.kind, found.change, found.request) == ("request waiting", change.id, change.requests[0].id)
    assert list(client.events(after=found.id)) == []


def test_presets(requester: User, deployment: Deployment, portal: Portals) -> None:
    client = portal(requester)
    saved = client.save_preset("dev", NAME, "month end", {**VALUES, "rows": 7, "token": "s3cret"}, is_shared=True)
    assert (saved.name, saved.parameters, saved.is_shared) == ("month end", {**VALUES, "rows": 7}, True)
    assert [each.id for each in client.presets("dev", deployment=NAME)] == [saved.id]
    assert client.preset(saved.id).parameters == saved.parameters
    assert client.change_preset(saved.id, name="year end", is_shared=False).name == "year end"
    change = client.run("dev", NAME, {"rows": 8}, preset="year end")
    assert requests.values_of(change_row(change.id))["month"] == "2026-10"
    assert client.delete_preset(saved.id).name == "year end"
    with pytest.raises(NotFound):
        client.preset(saved.id)


def change_row(number: int) -> Any:
    return ChangeRequest.objects.get(pk=number).run_request

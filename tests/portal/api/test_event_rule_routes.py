"""Event rules, what they did and would do, and posted events, as programs see them."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment, Environment, Health
from runs import tasks
from runs.actors import Actor
from runs.governance import grants
from runs.models import AuditEntry, EventRule, Run, RunEvent, RunRequest, TokenScope
from tests.made_hooks import new_hook
from tests.made_rules import new_rule, react
from tests.portal.api.programs import Programs

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def begun(deployment: Deployment) -> None:
    Health.objects.update(runs_synced_at=timezone.now())
    tasks.deliver_events()


@pytest.fixture
def rule(requester: User, deployment: Deployment) -> EventRule:
    return new_rule(requester, deployment)


def posting(owner: User, environment: Environment) -> None:
    grants.grant(by=Actor.system(), person=owner, verbs=["post event"], environment=environment)


def test_the_owner_reads_pauses_and_resumes_it(rule: EventRule, requester: User, program: Programs) -> None:
    caller, path = program(requester), f"/event-rules/{rule.key}"
    assert [each["key"] for each in caller.get("/event-rules?trigger=run").body["items"]] == [rule.key]
    assert caller.get("/event-rules?enabled=false").body["items"] == []
    assert caller.get(path).body["states"] == ["FAILED"]
    assert caller.post(f"{path}/pause", {"reason": "r"}).body["is_enabled"] is False
    assert caller.post(f"{path}/resume", {"reason": "r"}).body["is_enabled"] is True
    verbs = AuditEntry.objects.filter(verb__startswith="event_rule.", actor_kind="token").values_list("verb", flat=True)
    assert sorted(verbs) == ["event_rule.pause", "event_rule.resume"]


def test_a_program_creates_changes_and_deletes_one(
    requester: User, deployment: Deployment, dev: Environment, program: Programs
) -> None:
    caller = program(requester)
    rule = {"name": "train", "states": ["FAILED"], "mapping": {"month": {"value": "2026-10"}}}
    new = {**rule, "trigger": "run", "environment": "dev", "deployment": deployment.full_name, "of_tag": "nightly"}
    made = [caller.post("/event-rules", new, Idempotency_Key="k1") for _ in range(2)]
    assert [each.status for each in made] == [201, 201]
    stored = EventRule.objects.get()
    assert stored.token
    assert made[0].body["token"] == stored.token.key
    path = f"/event-rules/{stored.key}"
    changed = caller.send("PUT", path, {**rule, "per_hour": 3, "in_environment": "dev"}).body
    # What is left out has its default.
    assert [changed[name] for name in ("per_hour", "in_environment", "of_tag")] == [3, "dev", ""]
    assert caller.send("PUT", path, {**rule, "states": []}).code == "event_rule.states"
    assert caller.send("DELETE", path).body["name"] == "train"
    assert caller.get(path).status == caller.send("DELETE", path).status == 404
    verbs = AuditEntry.objects.filter(verb__startswith="event_rule.", outcome="done").order_by("sequence")
    assert [each.verb for each in verbs] == ["event_rule.create", "event_rule.change", "event_rule.delete"]


def test_a_rule_names_nothing_that_its_program_does_not_see(
    requester: User, approver: User, deployment: Deployment, prod: Environment, program: Programs
) -> None:
    caller = program(requester, TokenScope(verbs=["see", "trigger"], full_name=deployment.full_name))
    new = {"name": "x", "environment": "dev", "deployment": deployment.full_name, "trigger": "run"}
    hook = new_hook(approver, deployment).hook
    for body, status, code in (
        ({"deployment": "hidden/hidden"}, 404, "deployment.unknown"),
        ({"states": ["FAILED"], "in_environment": "prod"}, 404, "environment.unknown"),
        ({"trigger": "delivery", "hook": hook.key}, 422, "event_rule.hook"),
        ({"trigger": "event", "event_name": "month.closed", "in_environment": "dev"}, 403, "access.scope"),
    ):
        answer = caller.post("/event-rules", new | body)
        assert (answer.status, answer.code) == (status, code)
    assert not EventRule.objects.exists()


@pytest.mark.parametrize("who", ["approver", "viewer", "stranger", "admin_user"])
def test_nobody_else_sees_it(who: str, request: pytest.FixtureRequest, rule: EventRule, program: Programs) -> None:
    caller, path = program(request.getfixturevalue(who)), f"/event-rules/{rule.key}"
    assert caller.get("/event-rules").body["items"] == []
    changed = caller.send("PUT", path, {"name": "x"})
    for answer in (caller.get(path), caller.get(f"{path}/dry-run"), caller.post(f"{path}/pause"), changed):
        assert (answer.status, answer.code) == (404, "row.unknown")


def test_what_its_events_did_and_would_do(
    rule: EventRule, requester: User, program: Programs, a_run: Callable[..., Run]
) -> None:
    a_run("FAILED", parameters={"month": "2026-08"})
    react()
    caller, path = program(requester), f"/event-rules/{rule.key}"
    (fired,) = caller.get(f"{path}/firings").body["items"]
    assert (fired["outcome"], fired["request"], fired["depth"]) == ("requested", RunRequest.objects.get().pk, 1)
    assert caller.get(f"{path}/firings?outcome=skipped").body["items"] == []
    found = caller.get(f"{path}/dry-run").body
    assert (found["request"], found["items"][0]["parameters"]["month"]) == (1, "2026-10")
    # A token says no more of runs than its scope shows.
    narrow = program(requester, TokenScope(verbs=["see"], full_name="other/other"))
    assert narrow.get(f"{path}/dry-run").status == 404


def test_an_event_is_posted_once(requester: User, dev: Environment, program: Programs) -> None:
    caller, event = program(requester), {"environment": "dev", "name": "month.closed", "body": {"month": "2026-08"}}
    answer = caller.post("/events", event)
    assert (answer.status, answer.code) == (403, "access.no_grant")
    posting(requester, dev)
    for _ in range(2):
        assert caller.post("/events", event, Idempotency_Key="k").status == 201
    assert RunEvent.objects.filter(kind="event posted").count() == 1
    entry = AuditEntry.objects.get(verb="event.post", outcome="done")
    # The trail does not keep what it said.
    assert entry.after["event"] == "month.closed"
    assert "2026-08" not in str(entry.after)
    # Nor do those read it who list events.
    tasks.deliver_events()
    assert caller.get("/events").body["items"] == []


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"name": "No name"}, "event.name"),
        ({"body": {"x": "y" * 20_000}}, "event.body"),
        ({"body": {"x": "\x00"}}, "text.nul"),
        ({"environment": "none"}, "environment.unknown"),
        ({"run": str(uuid4())}, "row.unknown"),
    ],
)
def test_events_that_are_refused(
    changed: dict[str, object], code: str, requester: User, dev: Environment, program: Programs
) -> None:
    posting(requester, dev)
    answer = program(requester).post("/events", {"environment": "dev", "name": "x", **changed})
    assert answer.status in (404, 409, 422), answer.body
    assert answer.code == code
    assert not RunEvent.objects.filter(kind="event posted").exists()


def test_a_run_that_posts_is_named(
    requester: User, deployment: Deployment, dev: Environment, program: Programs, a_run: Callable[..., Run]
) -> None:
    posting(requester, dev)
    run = a_run("RUNNING")
    answer = program(requester).post("/events", {"environment": "dev", "name": "x", "run": str(run.prefect_id)})
    assert answer.status == 201
    # One that was not requested here has no cause.
    assert "request" not in RunEvent.objects.get(kind="event posted").data

"""Plan a backfill and submit it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User

from flows.models import Deployment, Environment
from runs import requests
from runs.access.decisions import Forbidden
from runs.actors import Actor
from runs.governance import grants
from runs.models import AuditEntry, ChangeRequest
from runs.requests import Plan, plan_backfill, submit_backfill
from runs.requests.backfill_ranges import expand, values_from
from tests.cast import SCHEMA, by, person
from tests.fakes.prefect import FakePrefect
from tests.refusals import refused

pytestmark = pytest.mark.django_db

YEAR = "2026-01..2026-12"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("2026-11..2027-02", ["2026-11", "2026-12", "2027-01", "2027-02"]),
        ("2026-01..2026-12/6", ["2026-01", "2026-07"]),
        ("2024-02-27..2024-03-01", ["2024-02-27", "2024-02-28", "2024-02-29", "2024-03-01"]),
        ("2026-01-01..2026-01-31/14", ["2026-01-01", "2026-01-15", "2026-01-29"]),
        ("8..11", ["8", "9", "10", "11"]),
        ("-2..2/2", ["-2", "0", "2"]),
        ("08..11", ["08", "09", "10", "11"]),
        ("eu-west", ["eu-west"]),
        ("2026-01..2026-01", ["2026-01"]),
    ],
)
def test_a_range_has_both_its_ends(text: str, values: list[str]) -> None:
    assert list(expand(text)) == values


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("2026-06..2026-01", "backfill.range"),
        ("2026-02-01..2026-02-30", "backfill.range"),
        ("2026-01..2026-06-01", "backfill.range"),
        ("a..b", "backfill.range"),
        ("1..5/0", "backfill.range"),
        ("1..1001", "backfill.too_many"),
        ("1..999999999999999", "backfill.too_many"),
        ("1000-01-01..9999-12-31", "backfill.too_many"),
        ("", "backfill.empty"),
        (" , ,", "backfill.empty"),
    ],
)
def test_what_is_no_range_is_refused(text: str, code: str) -> None:
    with refused(code):
        values_from(SCHEMA, "month", text)


def test_lists_are_read_by_the_schema_and_hold_each_value_once() -> None:
    assert values_from(SCHEMA, "rows", "1..3, 7, 2") == [1, 2, 3, 7]
    assert values_from(SCHEMA, "rows", ["1..3", 3, 9]) == [1, 2, 3, 9]
    assert values_from(SCHEMA, "month", "2026-01\n2026-02") == ["2026-01", "2026-02"]


def outcomes(plan: Plan) -> list[str]:
    return [item.outcome.value for item in plan.items]


def test_two_parameters_give_every_combination(deployment: Deployment, requester: User) -> None:
    plan = plan_backfill(deployment, {}, {"month": "2026-01..2026-02", "rows": "1,2"}, by=by(requester))
    assert [dict(item.varied) for item in plan.items] == [
        {"month": "2026-01", "rows": 1},
        {"month": "2026-01", "rows": 2},
        {"month": "2026-02", "rows": 1},
        {"month": "2026-02", "rows": 2},
    ]
    assert plan.counts == {"run": 4, "skip": 0, "refuse": 0}


def test_each_item_is_validated_as_a_single_run(deployment: Deployment, requester: User) -> None:
    plan = plan_backfill(deployment, {"month": "2026-01"}, {"rows": "0..2"}, by=by(requester))
    assert outcomes(plan) == ["refuse", "run", "run"]
    assert plan.items[0].code == "parameter.minimum"
    with refused("backfill.refused_items"):
        submit_backfill(deployment, {"month": "2026-01"}, {"rows": "0..2"}, by=by(requester))
    change = submit_backfill(
        deployment, {"month": "2026-01"}, {"rows": "0..2"}, by=by(requester), leave_out_refused=True
    )
    assert change.specs.count() == 2


def test_the_rules_on_values_hold_for_each_item(dev: Environment, deployment: Deployment) -> None:
    some = person("some")
    few = {"properties": {"rows": {"maximum": 2}}}
    grants.grant(by=Actor.system(), person=some, verbs=["see", "trigger"], environment=dev)
    grants.grant(by=Actor.system(), person=some, verbs=["backfill"], environment=dev, predicate=few)
    plan = plan_backfill(deployment, {"month": "2026-01"}, {"rows": "1..3"}, by=by(some))
    assert outcomes(plan) == ["run", "run", "refuse"]
    assert plan.items[2].code == "access.values"
    # Nor by the service beneath, for a program that plans nothing.
    specs = [requests.Spec(deployment, {"month": "2026-01", "rows": rows}) for rows in (1, 3)]
    with pytest.raises(Forbidden):
        requests.submit_change(specs, by=by(some), kind=ChangeRequest.Kind.BACKFILL)


def test_without_the_verb_there_is_no_plan(dev: Environment, deployment: Deployment) -> None:
    plain = person("plain")
    grants.grant(by=Actor.system(), person=plain, verbs=["see", "trigger"], environment=dev)
    with pytest.raises(Forbidden):
        plan_backfill(deployment, {}, {"month": YEAR}, by=by(plain))
    with pytest.raises(Forbidden):
        submit_backfill(deployment, {}, {"month": YEAR}, by=by(plain))
    assert AuditEntry.objects.filter(verb="request.submit", outcome="refused").count() == 1


@pytest.mark.parametrize(
    ("parameters", "vary", "code"),
    [
        ({}, {}, "backfill.parameters"),
        ({}, {"month": "2026-01", "rows": "1", "token": "x"}, "backfill.parameters"),
        ({}, {"token": "a,b"}, "backfill.secret"),
        ({}, {"nothing": "a,b"}, "backfill.parameter_unknown"),
        ({"month": "2026-01"}, {"month": YEAR}, "backfill.twice"),
        ({}, {"month": YEAR, "rows": "1..100"}, "backfill.too_many"),
    ],
)
def test_what_cannot_be_varied_is_refused(
    deployment: Deployment, requester: User, parameters: dict[str, Any], vary: dict[str, str], code: str
) -> None:
    with refused(code):
        plan_backfill(deployment, parameters, vary, by=by(requester))


def test_what_completed_or_is_open_is_skipped_on_request(
    deployment: Deployment, requester: User, fake: FakePrefect, a_run: Any
) -> None:
    a_run("COMPLETED", parameters={"month": "2026-01"})
    a_run("COMPLETED", parameters={"month": "2026-01", "rows": 7})
    a_run("FAILED", parameters={"month": "2026-02"})
    a_run("RUNNING", parameters={"month": "2026-03", "rows": 100})
    requests.submit(deployment, {"month": "2026-04"}, by=by(requester))

    def plan(**skips: bool) -> Plan:
        return plan_backfill(deployment, {}, {"month": "2026-01..2026-05"}, by=by(requester), **skips)

    assert outcomes(plan()) == ["skip", "run", "skip", "skip", "run"]
    assert outcomes(plan(skip_completed=False)) == ["run", "run", "skip", "skip", "run"]
    assert outcomes(plan(skip_open=False)) == ["skip", "run", "run", "run", "run"]
    found = [item.earlier.state if item.earlier else "" for item in plan().items]
    assert found == ["Completed", "Failed", "Running", "Queued", ""]


def test_the_newest_run_with_the_values_counts(deployment: Deployment, requester: User, a_run: Any) -> None:
    a_run("COMPLETED", parameters={"month": "2026-01"})
    a_run("FAILED", parameters={"month": "2026-01"})
    plan = plan_backfill(deployment, {}, {"month": "2026-01,2026-02"}, by=by(requester))
    assert outcomes(plan) == ["run", "run"]


def test_who_cannot_view_parameters_learns_of_no_run(dev: Environment, deployment: Deployment, a_run: Any) -> None:
    blind = person("blind")
    grants.grant(by=Actor.system(), person=blind, verbs=["see", "trigger", "backfill"], environment=dev)
    a_run("COMPLETED", parameters={"month": "2026-01"})
    plan = plan_backfill(deployment, {}, {"month": "2026-01,2026-02"}, by=by(blind))
    assert outcomes(plan) == ["run", "run"]
    assert not plan.checks_earlier
    assert all(item.earlier is None for item in plan.items)


def test_it_is_one_change_request_with_its_pacing(deployment: Deployment, requester: User) -> None:
    change = submit_backfill(deployment, {"token": "hunter22"}, {"month": YEAR}, by=by(requester), at_once=3)
    assert change.kind == ChangeRequest.Kind.BACKFILL
    assert change.pacing == {"at_once": 3, "on_failure": "stop"}
    assert [spec.parameters["month"] for spec in change.specs.order_by("position")][::11] == ["2026-01", "2026-12"]
    assert all("token" not in spec.parameters and spec.sealed_parameters for spec in change.specs.all())
    assert change.run_requests.count() == 12
    assert AuditEntry.objects.filter(verb="request.submit").count() == 1


def test_what_is_submitted_is_the_plan_that_was_displayed(deployment: Deployment, requester: User, a_run: Any) -> None:
    plan = plan_backfill(deployment, {}, {"month": YEAR}, by=by(requester))
    a_run("COMPLETED", parameters={"month": "2026-03"})
    with refused("backfill.plan_changed"):
        submit_backfill(deployment, {}, {"month": YEAR}, by=by(requester), displayed_plan=plan.digest)
    again = plan_backfill(deployment, {}, {"month": YEAR}, by=by(requester))
    change = submit_backfill(deployment, {}, {"month": YEAR}, by=by(requester), displayed_plan=again.digest)
    assert change.specs.count() == 11


def test_the_same_key_again_is_the_same_backfill(deployment: Deployment, requester: User) -> None:
    key = uuid.uuid4()
    plan = plan_backfill(deployment, {}, {"month": YEAR}, by=by(requester))
    made = [
        submit_backfill(
            deployment, {}, {"month": YEAR}, by=by(requester), submission_key=key, displayed_plan=plan.digest
        )
        for _ in range(2)
    ]
    assert made[0] == made[1]
    assert ChangeRequest.objects.count() == 1
    with refused("submission.reused"):
        submit_backfill(deployment, {}, {"month": "2025-01..2025-03"}, by=by(requester), submission_key=key)


def test_nothing_to_run_is_no_backfill(deployment: Deployment, requester: User) -> None:
    submit_backfill(deployment, {}, {"month": YEAR}, by=by(requester))
    with refused("backfill.nothing"):
        submit_backfill(deployment, {}, {"month": YEAR}, by=by(requester))


@pytest.mark.parametrize("at_once", [0, 1001])
def test_the_number_at_a_time_is_limited(deployment: Deployment, requester: User, at_once: int) -> None:
    with refused("backfill.at_once"):
        submit_backfill(deployment, {}, {"month": YEAR}, by=by(requester), at_once=at_once)

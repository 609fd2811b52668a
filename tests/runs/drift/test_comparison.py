"""What differs between two deployments, and since when by the record. Without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flows import parameters
from flows.models import Deployment
from runs.drift import facts
from runs.drift.since import Change, Since, find_beginning
from runs.models import Drift
from tests.cast import SCHEMA

Kind = Drift.Kind
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
GIT = "prefect.deployments.steps.git_clone"
# Per environment another key: the same credential has two hashes.
HASHES = ["hmac:0123456789abcdef", "hmac:fedcba9876543210"]


def deployment(number: int = 0, **columns: Any) -> Deployment:
    step = {GIT: {"repository": f"https://{HASHES[number]}@git.example/x", "branch": "main"}}
    plain: dict[str, Any] = {
        "full_name": "monthly/monthly",
        "parameter_schema": SCHEMA,
        "parameter_defaults": {"month": "2026-10", "token": f"secret-{number}"},
        "schedules": [{"description": "cron 0 6 * * * (UTC)", "is_active": True}],
        "job_variables": {"image": "crm:1"},
        "definition": {"path": "/srv", "pull_steps": [step], "base_job_template": HASHES[number]},
        "definition_fingerprint": str(number) * 64,
        "tags": ["crm", "daily"],
    }
    return Deployment(**plain | columns)


def differing(left: Deployment, right: Deployment, *schedules: dict[str, str]) -> list[Kind]:
    secrets = facts.secrets_of(left, right)
    return facts.differing(facts.values_of(left, (), secrets), facts.values_of(right, schedules, secrets))


def test_hashes_and_secrets_do_not_differ() -> None:
    assert differing(deployment(0), deployment(1, tags=["daily", "crm"])) == []


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        (Kind.VERSION, {"version": "2"}),
        (Kind.CODE, {"entrypoint": "flows/x.py:f"}),
        (Kind.CODE, {"definition": {"path": "/srv", "pull_steps": []}}),
        (Kind.SCHEMA, {"enforces_schema": False}),
        (Kind.SCHEMA, {"parameter_schema": {**SCHEMA, "required": []}}),
        (Kind.DEFAULTS, {"parameter_defaults": {"month": "2026-11", "token": "secret-0"}}),
        (Kind.JOB_VARIABLES, {"job_variables": {"image": "crm:2"}}),
        (Kind.WORK_POOL, {"work_queue_name": "fast"}),
        (Kind.SCHEDULES, {"is_paused": True}),
        (Kind.SCHEDULES, {"schedules": [{"description": "cron 0 6 * * * (UTC)", "is_active": False}]}),
        (Kind.LIMITS, {"collision_strategy": "CANCEL_NEW"}),
        (Kind.TAGS, {"tags": ["crm"]}),
    ],
)
def test_each_kind_is_compared(kind: Kind, columns: dict[str, Any]) -> None:
    assert differing(deployment(), deployment(**columns)) == [kind]


def test_the_portals_own_schedules_are_compared() -> None:
    own = {"name": "monthly", "rule": "cron 0 6 * * * (UTC)", "state": "active"}
    assert differing(deployment(), deployment(), own) == [Kind.PORTAL_SCHEDULES]


def test_what_is_secret_on_one_side_is_compared_on_neither() -> None:
    plain = {**SCHEMA, "properties": {**SCHEMA["properties"], "token": {"type": "string"}}}
    left, right = deployment(0), deployment(1, parameter_schema=plain)
    assert Kind.DEFAULTS not in differing(left, right)
    shown = facts.values_of(right, (), facts.secrets_of(left))[Kind.DEFAULTS]
    assert shown == {"month": "2026-10", "token": parameters.MASK}


def test_a_schema_that_is_nested_too_deeply_is_compared_by_its_fingerprint() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"x": deep}
    left, right = (deployment(parameter_schema=deep, schema_fingerprint=each) for each in "ab")
    assert Kind.SCHEMA in facts.differing(facts.values_of(left), facts.values_of(right))


def change(hours: int, side: Any, field: str, before: Any, after: Any) -> Change:
    return Change(NOW - timedelta(hours=hours), side, {field: before}, {field: after})


def test_a_difference_begins_with_the_change_after_which_it_was_never_the_same_again() -> None:
    # Both 1; left went to 2, right followed; left went to 3, and on to 4.
    changes = [
        change(1, "left", "version", "3", "4"),
        change(2, "left", "entrypoint", "a", "b"),
        change(3, "left", "version", "2", "3"),
        change(4, "right", "version", "1", "2"),
        change(5, "left", "version", "1", "2"),
    ]
    found = find_beginning(Kind.VERSION, {"version": "4"}, {"version": "2"}, changes)
    assert found == Since(NOW - timedelta(hours=3), "left")


def test_the_last_deploy_of_the_other_side_can_begin_it() -> None:
    changes = [change(1, "right", "pull_steps", [GIT], [GIT, "other"])]
    found = find_beginning(Kind.CODE, {"pull_steps": [GIT]}, {"pull_steps": [GIT, "other"]}, changes)
    assert found == Since(NOW - timedelta(hours=1), "right")


def test_what_the_record_does_not_reach_back_to_is_not_known() -> None:
    changes = [change(1, "left", "version", "2", "3")]
    assert find_beginning(Kind.VERSION, {"version": "3"}, {"version": "1"}, changes) is None
    # Recorded as hashes with two keys, which are never the same.
    masked = [change(1, "left", "parameter_defaults", {"month": HASHES[0]}, {"month": HASHES[1]})]
    assert find_beginning(Kind.DEFAULTS, {}, {}, masked) is None


def test_a_beginning_is_read_as_it_was_stored() -> None:
    for each in (Since(NOW, "left"), Since(NOW, is_exact=False)):
        assert Since.read(each.stored()) == each

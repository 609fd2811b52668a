"""Steps of chains that are backfills: a run for each value, so many at a time, counted as one step."""

from __future__ import annotations

import json
import random
from collections import Counter
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows import parameters as schemas
from flows.models import Environment
from runs import changes, consumers, mirror, tasks
from runs.access.decisions import Forbidden
from runs.actors import Actor
from runs.audit import reconcile
from runs.automation import chain_pacing, chain_steps, chains
from runs.automation.chain_progress import read_progress
from runs.governance import grants
from runs.models import Chain, ChangeRequest, QueuedTask, RunRequest
from runs.models.request import State
from tests.cast import by, person
from tests.fakes.prefect import FakePrefect
from tests.made_chains import ACTS, deploy, go_on, make, step, where
from tests.refusals import refused
from tests.runs.automation.test_chain_kills import is_killed

pytestmark = pytest.mark.django_db
MONTHS = [f"2026-{month:02}" for month in range(1, 13)]


def over(values: Any = "2026-01..2026-06", **options: Any) -> dict[str, Any]:
    """A step that loads each of these months."""
    return step("load", parameters={"month": {"over": values, **options}})


@pytest.fixture
def deployed(dev: Environment, fake: FakePrefect) -> Environment:
    deploy(dev, fake, "load", "train")
    return dev


def requested(chain: Chain, user: User, **inputs: Any) -> ChangeRequest:
    change = chains.request_run(chain, inputs, by=by(user), reason="backfill")
    go_on()
    return change


def months(change: ChangeRequest, *states: str) -> list[str]:
    """The months of the latest attempts in these states."""
    change.refresh_from_db()
    found = read_progress(change).items["load"].latest.values()
    return [each.mapped_values["month"] for each in found if each.state in states]


def finish(change: ChangeRequest, state: str, fake: FakePrefect, *chosen: str) -> None:
    """End the open runs of the step, or those of these months, as Prefect would."""
    for each in change.run_requests.filter(state=State.LAUNCHED, occurrence__contains="-"):
        if not chosen or each.mapped_values["month"] in chosen:
            assert each.flow_run_id
            fake.set_state(each.flow_run_id, state)
            mirror.refresh(each.environment, [each.flow_run_id])
    go_on()
    chain_steps.advance(change.pk)
    go_on()


# Run ------------------------------------------------------------------------------------------------------------------


def test_each_value_runs_once_so_many_at_a_time_and_then_the_next_step(
    deployed: Environment, requester: User, fake: FakePrefect
) -> None:
    after = step("train", "load", parameters={"month": {"value": "2026-10"}})
    change = requested(make(deployed, requester, over(at_once=2), after), requester)
    assert months(change, State.LAUNCHED) == MONTHS[:2]
    finish(change, "COMPLETED", fake, "2026-02")
    assert months(change, State.LAUNCHED) == ["2026-01", "2026-03"]
    for _ in range(3):
        assert where(change) == {"load": "running", "train": "waiting"}
        finish(change, "COMPLETED", fake)
    assert months(change, State.COMPLETED) == MONTHS[:6]
    assert where(change) == {"load": "completed", "train": "running"}
    sent = [call.arguments["parameters"]["month"] for call in fake.calls if call.method == "create_flow_run"]
    assert sorted(sent) == sorted([*MONTHS[:6], "2026-10"])
    assert reconcile() == ""


def test_two_parameters_run_once_for_each_combination_and_no_other_starts(
    prod: Environment, prod_fake: FakePrefect, requester: User, approver: User
) -> None:
    deploy(prod, prod_fake, "load")
    both = {"rows": {"over": {"input": "sizes"}}, "month": {"over": MONTHS[:2], "at_once": 3, "on_failure": "go_on"}}
    chain = make(prod, requester, step("load", parameters=both))
    change = requested(chain, requester, sizes="5, 7")
    spec = change.specs.get()
    assert spec.mapped == {"month": {"enum": MONTHS[:2]}, "rows": {"enum": [5, 7]}}
    assert requested(chain, requester, sizes="5, 8").specs.get().digest != spec.digest
    with refused("chain.over_values"):
        chains.request_run(chain, {"sizes": "1..101"}, by=by(requester), reason="r")
    changes.approve(change, by=by(approver))
    go_on()
    assert months(change, State.LAUNCHED) == ["2026-01", "2026-01", "2026-02"]
    finish(change, "FAILED", prod_fake, "2026-02")
    finish(change, "COMPLETED", prod_fake)
    assert (where(change)["load"], change.progress) == ("failed", ChangeRequest.Progress.STOPPED)
    sent = [call.arguments["parameters"] for call in prod_fake.calls if call.method == "create_flow_run"]
    assert sorted((each["month"], each["rows"]) for each in sent) == [
        (month, rows) for month in MONTHS[:2] for rows in (5, 7)
    ]
    stray = chains.requests.add_occurrence(spec, "1-9", values={"month": "2026-01", "rows": 6})
    changes.release(change)
    stray.refresh_from_db()
    assert stray.state == State.HELD
    assert reconcile() == ""


def test_it_stops_at_a_failure_and_a_resumption_runs_what_failed_and_the_rest(
    deployed: Environment, requester: User, fake: FakePrefect
) -> None:
    change = requested(make(deployed, requester, over(at_once=2)), requester)
    finish(change, "FAILED", fake, "2026-01")
    assert months(change, State.LAUNCHED) == ["2026-02"]
    finish(change, "COMPLETED", fake)
    assert (where(change)["load"], change.progress) == ("failed", ChangeRequest.Progress.STOPPED)
    assert len(read_progress(change).items["load"].latest) == 2
    assert chain_pacing.resume(change, by=by(requester)) == 2
    go_on()
    assert months(change, State.LAUNCHED) == ["2026-01", "2026-03"]
    for _ in range(4):
        finish(change, "COMPLETED", fake)
    assert where(change)["load"] == "completed"
    assert change.state == ChangeRequest.State.CLOSED
    again = change.run_requests.filter(occurrence__startswith="2-")
    assert list(again.values_list("occurrence", "mapped_values")) == [("2-1", {"month": "2026-01"})]
    assert reconcile() == ""


def test_it_goes_on_after_failures_and_is_failed_then(
    deployed: Environment, requester: User, fake: FakePrefect
) -> None:
    chain = make(deployed, requester, {**over(at_once=3, on_failure="go_on"), "retries": 1})
    change = requested(chain, requester)
    finish(change, "FAILED", fake, "2026-01", "2026-02")
    # The retries of the step are those of each run.
    assert {"2-1", "2-2"} <= {*change.run_requests.values_list("occurrence", flat=True)}
    for _ in range(3):
        finish(change, "FAILED", fake, "2026-01", "2026-02")
        finish(change, "COMPLETED", fake, *MONTHS[2:])
    assert (months(change, State.FAILED), months(change, State.COMPLETED)) == (MONTHS[:2], MONTHS[2:6])
    assert where(change)["load"] == "failed"
    assert chain_pacing.resume(change, by=by(requester)) == 2


def test_values_come_from_an_input_and_each_must_be_allowed(deployed: Environment, requester: User) -> None:
    chain = make(deployed, requester, over({"input": "months"}))
    with refused("backfill.empty"):
        chains.request_run(chain, {}, by=by(requester))
    with pytest.raises(schemas.Invalid):
        chains.request_run(chain, {"months": "2026-01, soon"}, by=by(requester))
    with refused("chain.over_values"):
        chains.request_run(chain, {"months": "2000-01..2019-12"}, by=by(requester))
    some = person("some")
    only = {"properties": {"month": {"enum": MONTHS[:2]}}}
    grants.grant(by=Actor.system(), person=some, verbs=["see"], environment=deployed)
    grants.grant(by=Actor.system(), person=some, verbs=["trigger"], environment=deployed)
    with pytest.raises(Forbidden):
        chains.request_run(chain, {"months": "2026-01"}, by=by(some))
    grants.grant(by=Actor.system(), person=some, verbs=["backfill"], environment=deployed, predicate=only)
    with pytest.raises(Forbidden):
        chains.request_run(chain, {"months": "2026-01..2026-03"}, by=by(some))
    assert requested(chain, some, months="2026-01..2026-02").specs.get().mapped == {"month": {"enum": MONTHS[:2]}}


@pytest.mark.parametrize(
    ("code", "steps"),
    [
        ("chain.definition", [over(at_once=0)]),
        ("chain.definition", [over(on_failure="perhaps")]),
        ("chain.definition", [over({"value": 1})]),
        (
            "chain.definition",
            [step("load", parameters={name: {"over": "1..2"} for name in ("month", "rows", "token")})],
        ),
        (
            "chain.definition",
            [
                step(
                    "load", parameters={"month": {"over": MONTHS, "at_once": 2}, "rows": {"over": "1..2", "at_once": 3}}
                )
            ],
        ),
        ("chain.parameter_invalid", [step("load", parameters={"month": {"over": "1..2"}, "rows": {"over": "1..2"}})]),
        ("chain.parameter_invalid", [step("load", parameters={"month": {"over": MONTHS}, "rows": {"over": "0..2"}})]),
        ("chain.over_values", [step("load", parameters={"month": {"over": MONTHS}, "rows": {"over": "1..17"}})]),
        ("chain.definition", [over(), step("train", {"step": "load", "artifact": "a", "pointer": "", "equals": 1})]),
        ("chain.parameter_invalid", [over("2026-01, soon")]),
        ("chain.over_values", [over("2000-01..2019-12")]),
        ("chain.secret", [step("load", parameters={"month": {"value": "2026-01"}, "token": {"over": ["a", "b"]}})]),
    ],
)
def test_what_could_not_run_is_refused_when_it_is_saved(
    deployed: Environment, requester: User, code: str, steps: list[dict[str, Any]]
) -> None:
    with refused(code):
        chains.save(deployed, "Close", {"steps": steps}, by=by(requester))


# Approved and gated ---------------------------------------------------------------------------------------------------


def test_its_values_are_approved_with_the_chain_and_one_decision_opens_its_gate(
    prod: Environment, prod_fake: FakePrefect, requester: User, approver: User
) -> None:
    deploy(prod, prod_fake, "load")
    chain = make(prod, requester, {**over(at_once=3), "gate": True})
    change = requested(chain, requester)
    other = requested(make(prod, requester, over("2026-01..2026-07"), name="Other"), requester)
    assert change.specs.get().digest != other.specs.get().digest
    changes.approve(change, by=by(approver))
    go_on()
    (first,) = change.run_requests.all()
    assert (first.occurrence, first.state) == ("1-1", State.HELD)
    changes.let_go(first, by=by(approver))
    go_on()
    assert months(change, State.LAUNCHED) == MONTHS[:3]
    # A value that nobody approved does not start, whoever added its run.
    stray = changes_of(change, "1-9", "2026-11")
    changes.release(change)
    stray.refresh_from_db()
    assert stray.state == State.HELD


def changes_of(change: ChangeRequest, key: str, month: str) -> RunRequest:
    return chains.requests.add_occurrence(change.specs.get(), key, values={"month": month})


def test_rejecting_the_first_run_at_the_gate_rejects_the_step(deployed: Environment, requester: User) -> None:
    change = requested(make(deployed, requester, {**over(on_failure="go_on"), "gate": True}), requester)
    changes.reject_step(change.run_requests.get(), by=by(requester), reason="too early")
    go_on()
    assert where(change)["load"] == "failed"
    assert change.run_requests.count() == 1


# Through kills --------------------------------------------------------------------------------------------------------


def test_each_value_is_one_run_through_kills(deployed: Environment, fake: FakePrefect, requester: User) -> None:
    chance = random.Random(7)
    chain = make(deployed, requester, over("2026-01..2026-12", at_once=4))
    change = chains.request_run(chain, {}, by=by(requester))
    kills = 0
    for _ in range(60):
        kills += is_killed(consumers.deliver, chance.randint(1, 60))
        RunRequest.objects.filter(state=State.LAUNCHING).update(next_attempt_at=timezone.now())
        tasks.requeue_due()
        kills += is_killed(partial(chain_steps.advance, change.pk), chance.randint(1, 150))
        for task in QueuedTask.objects.filter(task__in=ACTS).order_by("pk"):
            is_dead = is_killed(partial(ACTS[task.task], *json.loads(task.args)), chance.randint(1, 150))
            kills += is_dead
            if not is_dead and chance.random() < 0.8:
                task.delete()
        open_now = change.run_requests.filter(state__in=[State.APPROVED, State.LAUNCHING, State.LAUNCHED]).count()
        assert open_now <= 4
        running = [
            pk for pk in change.run_requests.filter(state=State.LAUNCHED).values_list("flow_run_id", flat=True) if pk
        ]
        for flow_run_id in running[:2]:
            fake.set_state(flow_run_id, "COMPLETED")
        mirror.refresh_state(deployed, running[:2])
        change.refresh_from_db()
        if change.state == ChangeRequest.State.CLOSED:
            break
    assert change.state == ChangeRequest.State.CLOSED
    assert kills >= 10
    made = Counter(call.arguments["parameters"]["month"] for call in fake.calls if call.method == "create_flow_run")
    assert sorted(made) == MONTHS
    assert Counter(change.run_requests.values_list("state", flat=True)) == {State.COMPLETED: 12}
    assert len({*change.run_requests.values_list("flow_run_id", flat=True)}) == 12
    assert reconcile() == ""

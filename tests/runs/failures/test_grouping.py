"""Failed runs become groups, once each, whatever happens at the same time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from flows.catalog import health, sync
from flows.models import Deployment
from runs import consumers, failures, mirror, tasks
from runs.failures import grouping
from runs.models import FailedRun, FailureAct, FailureDay, FailureGroup, Run, RunEvent
from tests.cast import FAKES, by, person
from tests.failed_runs import SAYS_NOTHING, a_failure, fail, fail_again, grouped
from tests.fakes.prefect import FakePrefect

pytestmark = pytest.mark.django_db
Kind = RunEvent.Kind
State = FailureGroup.State


def events_of(kind: Kind) -> int:
    return RunEvent.objects.filter(kind=kind).count()


def test_failures_of_one_kind_are_one_group_and_one_event(deployment: Deployment) -> None:
    runs = [fail(deployment, f"ValueError: bad row {number}") for number in range(3)]
    (group,) = grouped()
    assert (group.state, group.number, group.what) == (State.NEW, 3, "monthly/monthly")
    assert (group.exception, group.pattern) == ("ValueError", "bad row <number>")
    assert group.message.endswith("bad row 2")
    assert {each.failure.group_id for each in Run.objects.filter(pk__in=[run.pk for run in runs])} == {group.pk}
    assert list(FailureDay.objects.values_list("number", flat=True)) == [3]
    assert events_of(Kind.FAILURE_APPEARED) == 1
    fail(deployment, "ValueError: bad row 9")
    assert [each.number for each in grouped()] == [4]
    assert events_of(Kind.FAILURE_APPEARED) == 1


def test_the_task_that_failed_is_part_of_it_and_is_waited_for(deployment: Deployment) -> None:
    fail(deployment, "Task run encountered an exception ValueError: bad", task="load")
    fail(deployment, "Task run encountered an exception ValueError: bad", task="store")
    tasks.deliver_events()
    assert grouped(is_patient=False) == [], "the last lines of a log arrive after the state"
    assert [(each.task_name, each.exception) for each in grouped()] == [("load", "ValueError"), ("store", "ValueError")]


def test_the_log_says_what_the_state_does_not(deployment: Deployment) -> None:
    fail(deployment, "Process exited with status code 1", error="OSError: disk full")
    (group,) = grouped()
    assert (group.exception, group.pattern) == ("OSError", "disk full")


def test_without_details_it_is_grouped_after_a_while_beside_those_that_had_some(deployment: Deployment) -> None:
    fail(deployment, "Task run encountered an exception ValueError: bad", task="load")
    grouped()
    run = fail(deployment, "ValueError: bad")
    tasks.deliver_events()
    Run.objects.filter(pk=run.pk).update(detailed_at=None)
    assert len(grouped()) == 1
    assert FailedRun.objects.get(run=run).group is None
    FailedRun.objects.filter(run=run).update(seen_at=timezone.now() - grouping.PATIENCE)
    (group,) = grouped()
    assert (group.number, group.task_name) == (2, "load")


def test_a_run_that_is_retried_and_fails_again_is_in_one_group_and_counted_twice(deployment: Deployment) -> None:
    run = fail(deployment, "ValueError: bad")
    (first,) = grouped()
    FAKES[run.environment.server.api_url].set_state(run.prefect_id, "RUNNING")
    mirror.refresh(run.environment, [run.prefect_id])
    assert FailedRun.objects.get(run=run).group == first, "that it goes on resolves nothing"
    fail_again(run, "KeyError: other")
    first, second = grouped()
    assert FailedRun.objects.get(run=run).group == second
    assert (first.number, second.number) == (1, 1)


def test_a_retry_that_completes_resolves_nothing(deployment: Deployment) -> None:
    run = fail(deployment)
    (group,) = grouped()
    FAKES[run.environment.server.api_url].set_state(run.prefect_id, "COMPLETED")
    mirror.refresh(run.environment, [run.prefect_id])
    assert [each.state for each in grouped()] == [group.state]


def test_the_same_event_handled_twice_counts_once(deployment: Deployment) -> None:
    fail(deployment)
    grouped()
    for event in RunEvent.objects.filter(kind__in=consumers.CONSUMERS["failures"].kinds, data__state="FAILED"):
        failures.note(event)
    assert [each.number for each in grouped()] == [1]


def test_a_resolved_one_that_fails_again_has_regressed_and_is_announced_once(deployment: Deployment) -> None:
    operator = person("operator", "Operator")
    group = a_failure(deployment)
    failures.resolve(group, by=by(operator), reason="fixed in 1.2")
    fail(deployment)
    fail(deployment)
    (group,) = grouped()
    assert (group.state, group.reason, group.number) == (State.REGRESSED, "", 3)
    assert events_of(Kind.FAILURE_REGRESSED) == 1
    assert group.acts.filter(kind=FailureAct.Kind.REGRESSED).count() == 1


def test_what_failed_before_it_was_resolved_is_no_regression(deployment: Deployment) -> None:
    operator = person("operator", "Operator")
    group = a_failure(deployment)
    late = fail(deployment)
    failures.resolve(group, by=by(operator), reason="fixed in 1.2")
    grouped()
    group.refresh_from_db()
    assert (group.state, group.number, late.failure.group_id) == (State.RESOLVED, 2, group.pk)
    assert events_of(Kind.FAILURE_REGRESSED) == 0


def test_a_muted_one_counts_and_announces_nothing(deployment: Deployment) -> None:
    operator = person("operator", "Operator")
    group = a_failure(deployment)
    failures.mute(group, timezone.now() + timedelta(days=1), by=by(operator))
    fail(deployment)
    (group,) = grouped()
    assert (group.state, group.number) == (State.MUTED, 2)
    assert RunEvent.objects.filter(kind__in=[Kind.FAILURE_APPEARED, Kind.FAILURE_REGRESSED]).count() == 1


def test_history_is_not_grouped(deployment: Deployment, fake: FakePrefect) -> None:
    fake.add_run(deployment.prefect_id, state_type="FAILED")
    mirror.sync(deployment.environment)
    assert health.runs_synced_at(deployment.environment) is not None
    assert grouped() == []


def test_a_redeployed_deployment_goes_on_in_its_group(deployment: Deployment, fake: FakePrefect) -> None:
    a_failure(deployment)
    fake.remove_deployment(deployment.prefect_id)
    again = fake.add_deployment(flow_name="monthly", name="monthly", tags=("other",))
    sync.sync(deployment.environment)
    current = Deployment.objects.get(prefect_id=again.id)
    fail(current)
    (group,) = grouped()
    assert (group.number, group.access_deployment_id) == (2, current.pk)


def test_counts_stay_when_runs_are_deleted(deployment: Deployment) -> None:
    group = a_failure(deployment, number=2)
    Run.objects.all().delete()
    group.refresh_from_db()
    assert (group.number, group.days.get().number) == (2, 2)
    assert not FailedRun.objects.exists()


def test_more_than_one_batch_is_grouped(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "AT_ONCE", 2)
    for _ in range(5):
        fail(deployment)
    assert [each.number for each in grouped()] == [5]


def test_a_batch_takes_as_many_queries_for_ten_failures_as_for_two(
    deployment: Deployment, django_assert_num_queries: object
) -> None:
    def queries(number: int) -> int:
        for _ in range(number):
            fail(deployment, SAYS_NOTHING)
        tasks.deliver_events()
        FailedRun.objects.update(seen_at=timezone.now() - timedelta(minutes=1))
        with connection.execute_wrapper(counter := Counter()):
            grouping.group_some()
        return counter.number

    queries(1)
    assert queries(2) == queries(10)


class Counter:
    number = 0

    def __call__(self, execute: object, *args: object) -> object:
        self.number += 1
        return execute(*args)  # type: ignore[operator]  # Django's own function

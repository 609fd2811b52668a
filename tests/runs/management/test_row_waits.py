"""Waiting for the end of a request or an action."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment
from flows.prefect_api.records import PrefectError
from runs import dispatch, mirror, requests
from runs.management.cli.row_waits import wait
from runs.models import Run, RunRequest
from runs.models.request import State
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.refusals import refused

pytestmark = pytest.mark.django_db


@pytest.fixture
def run_request(deployment: Deployment, requester: User) -> RunRequest:
    return requests.submit(deployment, {"month": "2026-10"}, by=by(requester))


def test_it_ends_with_the_run(run_request: RunRequest, fake: FakePrefect) -> None:
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert run_request.flow_run_id
    fake.set_state(run_request.flow_run_id, "RUNNING")
    fake.set_state(run_request.flow_run_id, "COMPLETED")
    mirror.refresh(run_request.environment, [run_request.flow_run_id])
    assert wait(run_request, seconds=0).state == State.COMPLETED


def test_it_is_given_up_in_time(run_request: RunRequest) -> None:
    started = timezone.now()
    with refused("wait.timeout"):
        wait(run_request, seconds=0.6)
    assert timezone.now() - started < timedelta(minutes=1)


def test_it_says_when_it_is_prefect_that_does_not_answer(run_request: RunRequest, fake: FakePrefect) -> None:
    fake.go_down()
    dispatch.launch(run_request)
    with pytest.raises(PrefectError) as caught:
        wait(run_request, seconds=0)
    run_request.refresh_from_db()
    assert run_request.next_attempt_at is not None
    assert run_request.message in str(caught.value)


def test_a_cancellation_is_waited_for(requester: User, fake: FakePrefect, a_run: Callable[..., Run]) -> None:
    run = a_run()
    cancellation = requests.cancel(run, by=by(requester))
    dispatch.carry_out(cancellation)
    fake.set_state(run.prefect_id, "CANCELLED")
    mirror.refresh(run.environment, [run.prefect_id])
    assert wait(cancellation, seconds=0).state == "done"

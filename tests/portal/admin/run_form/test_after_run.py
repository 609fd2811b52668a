"""Where somebody lands after a run was requested, and which state word both pages have."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from flows.models import Deployment
from portal.admin.run_form import after_run
from runs.models import RunRequest
from runs.models.request import State
from tests.portal.many_rows import many_requests, many_runs

Login = Callable[[User], Client]


def test_a_request_that_nothing_holds_back_leads_on_to_its_run(requester: User, deployment: Deployment) -> None:
    (run_request,) = many_requests(deployment, requester, 1)
    page = f"/admin/runs/runrequest/{run_request.pk}/change/"
    run_request.state = State.APPROVED
    assert after_run.address(run_request) == f"{page}?follow=1"
    run_request.scheduled_for = timezone.now() + timedelta(hours=1)
    assert after_run.address(run_request) == page
    run_request.scheduled_for, run_request.state = None, State.HELD
    assert after_run.address(run_request) == page


def test_only_who_has_just_requested_it_is_led_on(requester: User, deployment: Deployment, login: Login) -> None:
    (run_request,) = many_requests(deployment, requester, 1)
    client, page = login(requester), f"/admin/runs/runrequest/{run_request.pk}/change/"
    assert "data-live-follow" not in client.get(f"{page}?follow=1").content.decode()
    (run,) = many_runs(deployment, 1, state_type="RUNNING")
    run_request.run = run
    answer = client.get(page)
    assert "data-live-follow" not in answer.content.decode()


def test_the_request_has_the_state_of_its_run(requester: User, deployment: Deployment) -> None:
    (run_request,) = many_requests(deployment, requester, 1)
    assert run_request.state_row is run_request
    (run,) = many_runs(deployment, 1, state_type="RUNNING")
    run_request.run, run_request.state = run, State.LAUNCHED
    assert run_request.state_row is run
    run_request.state = State.COMPLETED
    assert run_request.state_row is run_request
    assert RunRequest.objects.get().state == State.HELD

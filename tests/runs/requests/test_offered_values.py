"""Values that a flow publishes as the only ones: others are refused at the request and at the launch."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment
from flows.parameters import Invalid
from runs import dispatch, requests
from runs.access.decisions import Forbidden
from runs.artifact_facts import OFFERS
from runs.models import Artifact, AuditEntry, Run, RunRequest
from runs.models.request import State
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.client.in_process import Commands
from tests.portal.page_elements import attributes

pytestmark = pytest.mark.django_db

CODE = "parameter.not_offered"
Publish = Callable[..., Artifact]
Login = Callable[[User], Client]


@pytest.fixture
def publish(deployment: Deployment, a_run: Callable[..., Run]) -> Publish:
    """Publishes what the flow has for `month`, some minutes ago, by a run that the mirror has read."""

    def make(*values: Any, minutes: float = 5, binding: object = True) -> Artifact:
        at = timezone.now() - timedelta(minutes=minutes)
        run = a_run("COMPLETED", started_at=at, ended_at=at)
        row = {"flow": "monthly", "parameter": "month", "values": list(values), "binding": binding}
        return Artifact.objects.create(
            environment=deployment.environment,
            run=run,
            prefect_id=uuid4(),
            key=OFFERS,
            data=[row],
            created_upstream_at=at,
        )

    return make


def submit(deployment: Deployment, user: User, month: str = "2026-11", **options: Any) -> RunRequest:
    return requests.submit(deployment, {"month": month}, by=by(user), **options)


def test_a_value_that_is_not_on_offer_is_refused_at_once(
    deployment: Deployment, requester: User, publish: Publish
) -> None:
    publish("2026-08", "2026-09")
    with pytest.raises(Invalid) as caught:
        submit(deployment, requester)
    (error,) = caught.value.errors
    assert (error.field, error.code) == ("month", CODE)
    assert "2026-08" in error.message
    assert not RunRequest.objects.exists()
    assert AuditEntry.objects.get(verb="request.submit").outcome == "refused"
    assert submit(deployment, requester, "2026-09").state == State.APPROVED


def test_where_nothing_is_on_offer_nothing_runs(deployment: Deployment, requester: User, publish: Publish) -> None:
    publish()
    with pytest.raises(Invalid):
        submit(deployment, requester)


@pytest.mark.parametrize("binding", [False, None, "true", 1])
def test_offers_that_are_not_marked_as_binding_bind_nobody(
    deployment: Deployment, requester: User, publish: Publish, binding: object
) -> None:
    publish("2026-08", binding=binding)
    assert submit(deployment, requester).state == State.APPROVED


def test_a_run_that_ended_since_and_is_not_read_makes_the_offers_old(
    deployment: Deployment, requester: User, publish: Publish, a_run: Callable[..., Run]
) -> None:
    publish("2026-08")
    now = timezone.now()
    run = a_run("COMPLETED", started_at=now, ended_at=now)
    Run.objects.filter(pk=run.pk).update(detailed_at=None)
    assert submit(deployment, requester).state == State.APPROVED
    Run.objects.filter(pk=run.pk).update(detailed_at=now)
    with pytest.raises(Invalid):
        submit(deployment, requester)


def test_of_two_runs_that_end_together_either_counts(deployment: Deployment, requester: User, publish: Publish) -> None:
    publish("2026-08", "2026-11", minutes=5.5)
    publish("2026-08", minutes=5)
    assert submit(deployment, requester).state == State.APPROVED


def test_offers_that_were_replaced_long_since_no_longer_count(
    deployment: Deployment, requester: User, publish: Publish
) -> None:
    publish("2026-08", "2026-11", minutes=50)
    publish("2026-08", minutes=5)
    with pytest.raises(Invalid):
        submit(deployment, requester)


def test_a_later_run_is_judged_when_its_time_comes(
    deployment: Deployment, requester: User, publish: Publish, fake: FakePrefect
) -> None:
    publish("2026-08")
    later = submit(deployment, requester, scheduled_for=timezone.now() + timedelta(hours=1))
    dispatch.launch(later)
    later.refresh_from_db()
    assert later.state == State.APPROVED


def test_a_value_that_left_the_offers_is_refused_at_the_launch(
    deployment: Deployment, requester: User, publish: Publish, fake: FakePrefect
) -> None:
    publish("2026-08", "2026-11", minutes=50)
    run_request = submit(deployment, requester)
    publish("2026-08")
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert (run_request.state, run_request.flow_run_id) == (State.REFUSED, None)
    assert AuditEntry.objects.filter(outcome="refused", after__refused__code="parameters.not_offered").exists()


def test_without_permission_nobody_learns_what_is_on_offer(
    deployment: Deployment, viewer: User, publish: Publish
) -> None:
    publish("2026-08")
    with pytest.raises(Forbidden):
        submit(deployment, viewer)


def test_the_form_shows_it_beside_the_input_and_keeps_what_was_typed(
    deployment: Deployment, requester: User, publish: Publish, login: Login
) -> None:
    publish("2026-08")
    address = reverse("admin:flows_deployment_run", args=[deployment.pk])
    sent = {"parameters-month": "2026-11", "form_fingerprint": deployment.schema_fingerprint, "start": "now"}
    page = login(requester).post(address, {**sent, "submission_key": str(uuid4())})
    html = page.content.decode()
    assert CODE in attributes(html, "data-code")
    assert 'value="2026-11"' in html
    assert not RunRequest.objects.exists()


def test_the_client_says_it_with_its_code(
    deployment: Deployment, requester: User, publish: Publish, command: Commands
) -> None:
    publish("2026-08")
    ended = command(requester, "run", "monthly", "-e", "dev", "-p", "month=2026-11")
    assert (ended.code, CODE in ended.err) == (1, True)

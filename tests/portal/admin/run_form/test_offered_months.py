"""The form offers the months that have data, and accepts others with a warning."""

from __future__ import annotations

import html
import re
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
from runs import artifact_facts
from runs.artifact_facts import OFFERS
from runs.models import Artifact, Run, RunRequest
from tests.portal.forms import fill_in, form_of
from tests.portal.page_elements import attributes

Login = Callable[[User], Client]


def test_months_are_offered_and_others_accepted_with_a_warning(
    deployment: Deployment, a_run: Callable[..., Run], requester: User, login: Login
) -> None:
    rows = [{"flow": "monthly", "parameter": "month", "values": ["2026-08", "2026-09", "<2026>"]}]
    Artifact.objects.create(
        environment=deployment.environment, run=a_run("COMPLETED"), prefect_id=uuid4(), key=OFFERS, data=rows
    )
    client, address = login(requester), reverse("admin:flows_deployment_run", args=[deployment.pk])
    page = client.get(address).content.decode()
    assert re.search(r"<datalist[^>]*>\s*<option value=\"2026-08\"", page)
    assert "<2026>" not in page

    sent = {"parameters-month": "2026-11", "form_fingerprint": deployment.schema_fingerprint, "start": "now"}
    sent |= {"submission_key": str(uuid4())}
    answer = client.post(address, sent, follow=True)
    assert RunRequest.objects.get().spec.parameters["month"] == "2026-11"
    (warning,) = artifact_facts.not_offered(deployment.environment, deployment.flow_name, {"month": "2026-11"})
    assert "2026-11" in warning
    assert html.escape(warning) in answer.content.decode()


@pytest.fixture
def bound(deployment: Deployment, a_run: Callable[..., Run]) -> Artifact:
    """Months that are published as the only ones, by a run that the mirror has read."""
    at = timezone.now() - timedelta(minutes=5)
    rows = [{"flow": "monthly", "parameter": "month", "values": ["2026-08", "2026-09"], "binding": True}]
    run = a_run("COMPLETED", started_at=at, ended_at=at)
    columns: dict[str, Any] = {"prefect_id": uuid4(), "key": OFFERS, "data": rows, "created_upstream_at": at}
    return Artifact.objects.create(environment=deployment.environment, run=run, **columns)


def month_choices(page: str) -> list[str]:
    """The options of the select of the month, [] where it is an input."""
    found = re.search(r'<select name="parameters-month".*?</select>', page, re.DOTALL)
    return attributes(found[0], "value") if found else []


def test_months_that_bind_are_a_select_without_a_month_chosen(
    deployment: Deployment, bound: Artifact, requester: User, login: Login
) -> None:
    client = login(requester)
    page = client.get(form_of(deployment)).content.decode()
    assert month_choices(page) == ["", "2026-08", "2026-09", "-other"]
    assert re.findall(r'<option value="([^"]*)" selected', page) == [""]
    page = client.get(form_of(deployment, "?p.month=2026-09")).content.decode()
    assert re.findall(r'<option value="([^"]*)" selected', page) == ["2026-09"]
    assert fill_in(client, deployment, **{"parameters-month": "2026-09"}).status_code == 302
    assert RunRequest.objects.get().spec.parameters["month"] == "2026-09"


def test_months_that_may_be_outdated_are_suggestions(
    deployment: Deployment, bound: Artifact, a_run: Callable[..., Run], requester: User, login: Login
) -> None:
    now = timezone.now()
    Run.objects.filter(pk=a_run("COMPLETED", started_at=now, ended_at=now).pk).update(detailed_at=None)
    page = login(requester).get(form_of(deployment)).content.decode()
    assert month_choices(page) == []
    assert '<option value="2026-09">' in page


def test_another_month_can_be_typed_for_a_later_start_and_is_refused_for_now(
    deployment: Deployment, bound: Artifact, requester: User, login: Login
) -> None:
    client, typed = login(requester), {"parameters-month": "-other", "parameters-month-other": "2026-11"}
    page = fill_in(client, deployment, **typed).content.decode()
    assert "parameter.not_offered" in attributes(page, "data-code")
    assert re.findall(r'<option value="([^"]*)" selected', page) == ["-other"]
    assert 'value="2026-11"' in page
    assert not RunRequest.objects.exists()
    tomorrow = (timezone.now() + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    assert fill_in(client, deployment, start="later", scheduled_for=tomorrow, **typed).status_code == 302
    assert RunRequest.objects.get().spec.parameters["month"] == "2026-11"

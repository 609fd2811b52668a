"""The form offers the months that have data, and accepts others with a warning."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from uuid import uuid4

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.models import Deployment
from runs import artifact_facts
from runs.artifact_facts import OFFERS
from runs.models import Artifact, Run, RunRequest

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

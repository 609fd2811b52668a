"""Quick runs: one click with the newest values on offer, and what prod asks before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import mirror
from runs.actors import Actor
from runs.artifact_facts import OFFERS
from runs.governance import grants
from runs.models import Artifact, Policy, Run, RunRequest
from runs.models.request import State
from tests.cast import FAKES
from tests.portal.forms import confirm
from tests.portal.page_elements import attributes, message_codes

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]


def publish(deployment: Deployment, *months: str, flow: str = "monthly") -> None:
    """What the flow's data has, as its newest run has published it."""
    record = FAKES[deployment.environment.server.api_url].add_run(deployment.prefect_id, state_type="COMPLETED")
    mirror.refresh(deployment.environment, [record.id])
    Artifact.objects.create(
        environment=deployment.environment,
        run=Run.objects.get(prefect_id=record.id),
        prefect_id=uuid4(),
        key=OFFERS,
        data=[{"flow": flow, "parameter": "month", "values": list(months), "binding": True}],
        created_upstream_at=timezone.now(),
    )


def page_of(client: Client, deployment: Deployment) -> str:
    address = reverse("admin:flows_deployment_change", args=[deployment.pk])
    return client.get(address).content.decode()


def quick_run(client: Client, deployment: Deployment, page: str, **data: str) -> Any:
    """Press the button of the page."""
    (token,) = attributes(page.partition('name="quick_values"')[2].partition(">")[0], "value")
    body = {"quick_values": token.replace("&quot;", '"'), "submission_key": str(uuid4()), **data}
    return client.post(reverse("admin:flows_deployment_quick_run", args=[deployment.pk]), body, follow=True)


def test_one_click_runs_the_newest_month_on_offer(deployment: Deployment, requester: User, login: Login) -> None:
    publish(deployment, "2026-08", "2026-09")
    client = login(requester)
    page = page_of(client, deployment)
    assert "month 2026-09" in page
    assert message_codes(quick_run(client, deployment, page)) == ["success"]
    assert RunRequest.objects.get().spec.parameters == {"month": "2026-09", "rows": 100}


@pytest.mark.parametrize("months", [(), ("nonsense",)])
def test_without_a_usable_offer_there_is_no_button(
    deployment: Deployment, requester: User, login: Login, months: tuple[str, ...]
) -> None:
    publish(deployment, *months)
    assert reverse("admin:flows_deployment_quick_run", args=[deployment.pk]) not in page_of(
        login(requester), deployment
    )


def test_offers_of_another_flow_are_no_offers(deployment: Deployment, requester: User, login: Login) -> None:
    publish(deployment, "2026-09", flow="other")
    assert "quick-run/" not in page_of(login(requester), deployment)


def test_a_grant_for_other_values_hides_the_button(
    deployment: Deployment, dev: Environment, stranger: User, login: Login
) -> None:
    only = {"properties": {"month": {"const": "2026-08"}}}
    grants.grant(by=Actor.system(), person=stranger, verbs=["see"], environment=dev)
    grants.grant(by=Actor.system(), person=stranger, verbs=["trigger"], environment=dev, predicate=only)
    publish(deployment, "2026-08", "2026-09")
    assert "quick-run/" not in page_of(login(stranger), deployment)


def test_what_the_page_showed_is_what_runs_or_nothing(deployment: Deployment, requester: User, login: Login) -> None:
    publish(deployment, "2026-08")
    client = login(requester)
    page = page_of(client, deployment)
    publish(deployment, "2026-08", "2026-09")
    assert message_codes(quick_run(client, deployment, page)) == ["form.stale"]
    assert not RunRequest.objects.exists()


def test_in_prod_it_is_a_request_with_reason_ticket_and_the_typed_environment(
    prod_deployment: Deployment, requester: User, login: Login
) -> None:
    Policy.objects.create(environment=prod_deployment.environment, name="Tickets", needs_ticket=True)
    publish(prod_deployment, "2026-08", "2026-09")
    client = login(requester)
    page = quick_run(client, prod_deployment, page_of(client, prod_deployment)).content.decode()
    assert "2026-09" in page
    assert not RunRequest.objects.exists()
    missing = confirm(client, prod_deployment, page, "prod", ticket="OPS-1")
    assert attributes(missing.content.decode(), "data-error") == ["reason.required"]
    missing = confirm(client, prod_deployment, page, "prod", reason="Month end")
    assert attributes(missing.content.decode(), "data-error") == ["ticket.required"]
    wrong = confirm(client, prod_deployment, page, "dev", reason="Month end", ticket="OPS-1")
    assert attributes(wrong.content.decode(), "data-error") == ["confirmation.mismatch"]
    assert "Month end" in wrong.content.decode()
    assert confirm(client, prod_deployment, page, "prod", reason="Month end", ticket="OPS-1").status_code == 302
    found = RunRequest.objects.get()
    assert (found.state, found.change.reason, found.change.ticket) == (State.HELD, "Month end", "OPS-1")
    assert found.spec.parameters["month"] == "2026-09"


def test_where_only_a_reason_is_required_no_name_is_typed(
    deployment: Deployment, requester: User, login: Login
) -> None:
    Environment.objects.filter(pk=deployment.environment_id).update(needs_reason=True)
    publish(deployment, "2026-09")
    client = login(requester)
    page = quick_run(client, deployment, page_of(client, deployment)).content.decode()
    assert 'name="reason"' in page
    assert 'name="confirmation"' not in page
    assert confirm(client, deployment, page, "", reason="Month end").status_code == 302
    assert RunRequest.objects.get().change.reason == "Month end"


def test_the_list_does_the_same_as_the_page(prod_deployment: Deployment, requester: User, login: Login) -> None:
    publish(prod_deployment, "2026-08", "2026-09")
    client, pk = login(requester), prod_deployment.pk

    def post(**data: Any) -> Any:
        body = {"action": "quick_run_selected", "_selected_action": [pk], "index": "0", **data}
        return client.post(reverse("admin:flows_deployment_changelist"), body, follow=True)

    page = post().content.decode()
    assert attributes(page, "data-complete") == ["yes"]
    assert "month 2026-09" in page
    given = {"reason": "Month end", "confirmation-prod": "prod"}
    assert message_codes(post(**given)) == ["form.stale"]
    shown = {f"quick_values-{pk}": '{"month": "2026-09"}', f"submission_key-{pk}": str(uuid4())}
    assert message_codes(post(**given, **shown)) == ["success"]
    assert RunRequest.objects.get().spec.parameters["month"] == "2026-09"


def test_the_offers_are_read_once_for_all_selected_deployments(
    deployment: Deployment, requester: User, login: Login
) -> None:
    publish(deployment, "2026-09")
    columns = Deployment.objects.filter(pk=deployment.pk).values()[0]
    for name in ("second", "third"):
        Deployment.objects.create(**{**columns, "id": None, "prefect_id": uuid4(), "name": name})
    selected = list(Deployment.objects.filter(environment=deployment.environment).values_list("pk", flat=True))
    body = {"action": "quick_run_selected", "_selected_action": selected, "index": "0"}
    with CaptureQueriesContext(connection) as captured:
        page = login(requester).post(reverse("admin:flows_deployment_changelist"), body).content.decode()
    assert attributes(page, "data-complete") == ["yes"] * 3
    readings = [each["sql"] for each in captured if "runs_artifact" in each["sql"]]
    assert len(readings) == 1

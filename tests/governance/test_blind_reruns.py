"""People who re-run a request whose parameters they cannot view never see its values."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flows.models import Deployment, Environment
from runs import dispatch, mirror, requests
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.governance import grants
from runs.models import Run, RunRequest
from runs.requests import visibility
from tests.cast import by, person
from tests.portal.forms import fill_in, form_of, hidden

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
CANARY = "CANARY-PUBLIC-88"


@pytest.fixture
def first(deployment: Deployment, requester: User) -> RunRequest:
    return requests.submit(deployment, {"month": "2026-10", "rows": 888}, by=by(requester), run_name="x")


@pytest.fixture
def blind(dev: Environment) -> User:
    user = person("blind")
    grants.grant(by=Actor.system(), person=user, verbs=["see", "rerun", "trigger"], environment=dev)
    return user


def can_view(user: User, subject: RunRequest | Run) -> bool:
    return visibility.can_view_parameters(Permissions.of_person(user), subject)


def test_a_blind_rerun_stays_blind_for_its_requester(first: RunRequest, blind: User, requester: User) -> None:
    again = requests.rerun(first, by=by(blind))
    assert again.spec.is_blind
    assert not can_view(blind, again)
    assert can_view(requester, first)


def test_so_does_a_rerun_of_the_rerun_and_one_with_changes(first: RunRequest, blind: User) -> None:
    second = requests.rerun(first, by=by(blind))
    third = requests.rerun(second, by=by(blind))
    changed = requests.rerun(third, by=by(blind), changes={"month": "2026-11"})
    assert [each.spec.is_blind for each in (second, third, changed)] == [True] * 3
    assert not can_view(blind, changed)


def test_neither_the_request_nor_its_run_nor_the_form_shows_the_values(
    first: RunRequest, blind: User, login: Login
) -> None:
    again = requests.rerun(first, by=by(blind))
    dispatch.launch(again)
    again.refresh_from_db()
    assert again.flow_run_id
    mirror.refresh(again.environment, [again.flow_run_id])
    run = Run.objects.get(prefect_id=again.flow_run_id)
    assert not can_view(blind, run)
    client = login(blind)
    for address in (
        f"/admin/runs/runrequest/{again.pk}/change/",
        f"/admin/runs/run/{run.pk}/change/",
        form_of(again.deployment, f"?again={again.pk}"),
        form_of(again.deployment, f"?again={first.pk}"),
        form_of(again.deployment, f"?like={run.pk}"),
    ):
        answer = client.get(address)
        assert answer.status_code == 200, address
        assert not re.search(r"\b888\b", answer.content.decode()), address


def test_who_may_view_the_values_sees_those_of_their_rerun(
    first: RunRequest, requester: User, blind: User, dev: Environment
) -> None:
    assert not requests.rerun(first, by=by(requester)).spec.is_blind
    grants.grant(by=Actor.system(), person=blind, verbs=["see inputs"], environment=dev)
    assert not requests.rerun(first, by=by(blind)).spec.is_blind


def test_a_permission_granted_later_shows_a_blind_rerun(first: RunRequest, blind: User, dev: Environment) -> None:
    again = requests.rerun(first, by=by(blind))
    grants.grant(by=Actor.system(), person=blind, verbs=["see inputs"], environment=dev)
    assert can_view(blind, again)


@pytest.mark.parametrize("address", ["", "?again=0"])
def test_a_draft_of_a_rerun_is_no_draft_at_another_address(
    prod_deployment: Deployment, prod: Environment, admin_user: User, login: Login, address: str
) -> None:
    user = person("blind2")
    grants.grant(by=Actor.system(), person=user, verbs=["see", "rerun", "trigger"], environment=prod)
    grants.grant(by=Actor.system(), person=admin_user, verbs=["see", "trigger"], environment=prod)
    earlier = requests.submit(prod_deployment, {"month": "2026-10", "rows": 888}, by=by(admin_user), reason="Month end")
    client = login(user)
    page = fill_in(client, prod_deployment, f"?again={earlier.pk}", reason="Again").content.decode()
    draft = hidden(page)["draft"]
    for step in ({"change": "1"}, {"confirmation": prod_deployment.full_name}):
        answer = client.post(form_of(prod_deployment, address), {"draft": draft, **step})
        # As a word: keys and digests on the page may contain the digits.
        assert not re.search(r"\b888\b", answer.content.decode())
    assert RunRequest.objects.count() == 1

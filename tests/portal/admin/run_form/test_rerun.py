"""Re-running: who can, which values are reused, and what is hidden of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flows.catalog import sync
from flows.models import Deployment, Environment
from runs import requests
from runs.access.decisions import decide
from runs.actors import Actor
from runs.governance import grants
from runs.models import Run, RunRequest, Verb
from tests.cast import by, person
from tests.fakes.prefect import FakePrefect
from tests.portal.forms import confirm, fill_in, form_of, hidden
from tests.portal.page_elements import attributes, message_codes

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
SAME_VALUES = {"parameters-month": "2026-01", "parameters-rows": "7", "parameters-token": ""}


@pytest.fixture
def original(requester: User, deployment: Deployment) -> RunRequest:
    values = {"month": "2026-01", "rows": 7, "token": "opensesame"}
    return requests.submit(deployment, values, by=by(requester), tags=["a"], run_name="January")


@pytest.fixture
def other(dev: Environment) -> User:
    """Can re-run, and nothing else."""
    user = person("other", "Viewer")
    grants.grant(by=Actor.system(), person=user, verbs=["see", "see inputs", "rerun"], environment=dev)
    return user


def query(run_request: RunRequest) -> str:
    return f"?again={run_request.pk}"


def newest() -> RunRequest:
    return RunRequest.objects.order_by("-pk")[0]


def test_the_form_is_filled_in_and_the_secret_is_not_shown(requester: User, original: RunRequest, login: Login) -> None:
    form = login(requester).get(form_of(original.deployment, query(original))).content.decode()
    for piece in ('value="2026-01"', 'value="7"', 'value="January"', f'data-rerun-of="{original.pk}"'):
        assert piece in form
    assert "opensesame" not in form
    assert attributes(form, "data-parameters") == ["prefilled"]


def test_unchanged_it_is_a_rerun_with_its_secret(other: User, original: RunRequest, login: Login) -> None:
    answer = fill_in(login(other), original.deployment, query(original), **SAME_VALUES)
    assert answer.status_code == 302
    again = newest()
    assert (again.spec.rerun_of, again.spec.verb, again.change.requested_by) == (original, Verb.RERUN, other)
    assert requests.values_of(again)["token"] == "opensesame"


def test_a_new_secret_replaces_the_old(requester: User, original: RunRequest, login: Login) -> None:
    fill_in(login(requester), original.deployment, query(original), **{**SAME_VALUES, "parameters-token": "other"})
    assert requests.values_of(newest())["token"] == "other"
    assert newest().spec.verb == Verb.TRIGGER


def test_other_values_require_the_permission_to_run(other: User, original: RunRequest, login: Login) -> None:
    client = login(other)
    answer = fill_in(client, original.deployment, query(original), **{**SAME_VALUES, "parameters-rows": "8"})
    assert attributes(answer.content.decode(), "data-error") == ["access.no_grant"]
    assert newest() == original


def test_an_own_request_needs_no_further_permission(viewer: User, deployment: Deployment, login: Login) -> None:
    grants.grant(by=Actor.system(), person=viewer, verbs=["trigger"], environment=deployment.environment)
    own = requests.submit(deployment, {"month": "2026-01", "rows": 7}, by=by(viewer))
    assert fill_in(login(viewer), deployment, query(own), **SAME_VALUES).status_code == 302
    assert (newest().spec.rerun_of, newest().spec.verb) == (own, Verb.TRIGGER)


def test_another_persons_request_requires_the_permission_even_for_later(
    viewer: User, original: RunRequest, login: Login
) -> None:
    verbs = ["trigger", "trigger later"]
    grants.grant(by=Actor.system(), person=viewer, verbs=verbs, environment=original.environment)
    answer = login(viewer).get(form_of(original.deployment, query(original)))
    assert answer.status_code == 403
    assert decide(by(viewer), Verb.RERUN, original.deployment).sentence in answer.content.decode()


def test_people_who_cannot_see_it_find_nothing(
    stranger: User, original: RunRequest, login: Login, dev: Environment
) -> None:
    grants.grant(by=Actor.system(), person=stranger, verbs=["see", "trigger"], full_name="other/other")
    assert login(stranger).get(form_of(original.deployment, query(original))).status_code == 404


@pytest.mark.parametrize("pk", ["999999", "nonsense", "\0", "9" * 30])
def test_a_number_that_is_no_request_is_not_found(
    pk: str, requester: User, deployment: Deployment, login: Login
) -> None:
    assert login(requester).get(form_of(deployment), {"again": pk}).status_code == 404


def test_another_deployment_does_not_take_its_values(
    requester: User, original: RunRequest, prod_deployment: Deployment, login: Login
) -> None:
    answer = login(requester).get(form_of(prod_deployment, query(original)), follow=True)
    assert message_codes(answer) == ["rerun.other_deployment"]


def test_without_view_parameters_it_is_rerun_unseen(original: RunRequest, dev: Environment, login: Login) -> None:
    blind = person("blind")
    grants.grant(by=Actor.system(), person=blind, verbs=["see", "rerun"], environment=dev)
    client = login(blind)
    form = client.get(form_of(original.deployment, query(original))).content.decode()
    assert attributes(form, "data-parameters") == ["hidden"]
    assert "2026-01" not in form
    assert (
        client.post(form_of(original.deployment, query(original)), {**hidden(form), "start": "now"}).status_code == 302
    )
    assert requests.values_of(newest()) == requests.values_of(original)


def test_where_it_is_confirmed_the_difference_to_the_earlier_one_is_shown(
    requester: User, prod_deployment: Deployment, login: Login
) -> None:
    values = {"month": "2026-01", "rows": 7, "token": "opensesame"}
    original = requests.submit(prod_deployment, values, by=by(requester), reason="Closing")
    client = login(requester)
    changed = {**SAME_VALUES, "parameters-rows": "8", "reason": "Once more"}
    page = fill_in(client, prod_deployment, query(original), **changed).content.decode()
    assert re.search(rf'data-label="Request {original.pk}" data-differs><span class="portal-code">7<', page)
    assert "opensesame" not in page
    answer = confirm(client, prod_deployment, page, "monthly/monthly", query(original))
    assert answer.status_code == 302
    assert newest().spec.rerun_of == original
    assert requests.values_of(newest())["token"] == "opensesame"


def test_a_redeployed_one_is_found_by_its_name(
    requester: User, original: RunRequest, fake: FakePrefect, login: Login
) -> None:
    fake.remove_deployment(original.deployment.prefect_id)
    schema = original.deployment.parameter_schema
    record = fake.add_deployment(flow_name="monthly", name="monthly", parameter_schema=schema)
    sync.sync(original.environment)
    redeployed = Deployment.objects.get(prefect_id=record.id)
    answer = fill_in(login(requester), redeployed, query(original), **SAME_VALUES)
    assert answer.status_code == 302
    assert newest().deployment == redeployed


def test_a_run_of_prefect_fills_in_the_form_without_its_secrets(
    requester: User, a_run: Callable[..., Run], deployment: Deployment, login: Login
) -> None:
    run = a_run("COMPLETED", parameters={"month": "2026-03", "token": "opensesame"})
    form = login(requester).get(form_of(deployment, f"?like={run.pk}")).content.decode()
    assert 'value="2026-03"' in form
    assert "opensesame" not in form
    assert "••••••" not in form


def test_without_view_parameters_those_of_a_run_are_hidden(
    a_run: Callable[..., Run], deployment: Deployment, dev: Environment, login: Login
) -> None:
    blind = person("blind")
    grants.grant(by=Actor.system(), person=blind, verbs=["see", "trigger"], environment=dev)
    run = a_run("COMPLETED", parameters={"month": "2026-03"})
    answer: Any = login(blind).get(form_of(deployment, f"?like={run.pk}"))
    assert "2026-03" not in answer.content.decode()


# What the earlier run had, beside the fields and before the run


def earlier_notes(page: str) -> list[str]:
    """For each field with a note whether it differs from the earlier run; a hidden note is shown by an edit."""
    return attributes(page, "data-earlier")


def test_each_field_says_what_the_earlier_run_had_once_it_differs(
    requester: User, original: RunRequest, login: Login
) -> None:
    client = login(requester)
    same = client.get(form_of(original.deployment, query(original))).content.decode()
    # Month and rows; a secret has no note.
    assert earlier_notes(same) == ["same", "same"]
    edited = client.get(form_of(original.deployment, f"{query(original)}&p.rows=8")).content.decode()
    assert earlier_notes(edited) == ["same", "differs"]
    assert re.search(r'data-earlier="differs">Request \d+: <span class="portal-code">7</span>', edited)
    assert "opensesame" not in edited


def test_a_form_that_is_shown_again_says_it_too(requester: User, original: RunRequest, login: Login) -> None:
    answer = fill_in(login(requester), original.deployment, query(original), **{**SAME_VALUES, "parameters-rows": "9x"})
    assert earlier_notes(answer.content.decode()) == ["same", "differs"]


def test_the_review_compares_with_that_run_and_the_defaults(
    requester: User, original: RunRequest, login: Login
) -> None:
    client = login(requester)
    typed = {**SAME_VALUES, "parameters-rows": "8", "review": "1"}
    review = fill_in(client, original.deployment, query(original), **typed)
    assert newest() == original
    rows = {row.name: row for row in review.context["rows"]}
    assert [cell.column for cell in rows["rows"].cells] == ["Default", f"Request {original.pk}"]
    assert rows["rows"].words == ["changed", f"differs from request {original.pk}"]
    assert rows["month"].words == []
    # No name is asked for where the environment wants none.
    confirm(client, original.deployment, review.content.decode(), "", query(original))
    assert newest().spec.parameters["rows"] == 8


def test_a_run_started_elsewhere_is_compared_with_its_copy(
    requester: User, a_run: Callable[..., Run], login: Login
) -> None:
    run = a_run("COMPLETED", parameters={"month": "2026-01", "rows": 7})
    client, like = login(requester), f"?like={run.pk}"
    page = client.get(form_of(run.deployment, like)).content.decode()
    assert earlier_notes(page)[:2] == ["same", "same"]
    failed = a_run("FAILED", parameters={"month": "2026-02", "rows": 7})
    like = f"?like={failed.pk}"
    typed = {**SAME_VALUES, "parameters-rows": "8", "review": "1"}
    review = fill_in(client, run.deployment, like, **typed)
    titles = [column.title for column in review.context["against"]]
    assert titles == ["Default", "Last successful run", f"Run {failed.name}"]


def test_a_blind_rerun_says_nothing_of_the_values(
    requester: User, original: RunRequest, login: Login, dev: Environment
) -> None:
    blind = person("blind")
    grants.grant(by=Actor.system(), person=blind, verbs=["see", "trigger", "rerun"], environment=dev)
    page = login(blind).get(form_of(original.deployment, query(original))).content.decode()
    assert earlier_notes(page) == []

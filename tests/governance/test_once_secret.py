"""Once secret, always secret: a redeploy that drops the mark reveals no value given before it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.test import Client

from flows.catalog import sync
from flows.models import Deployment
from flows.parameters import MASK, exposed, masked_paths
from runs import dispatch, mirror, requests
from runs.models import AuditEntry, Run, RunRequest
from tests.cast import SCHEMA, by
from tests.fakes.prefect import FakePrefect
from tests.portal.forms import form_of
from tests.refusals import refused

pytestmark = pytest.mark.django_db

CANARY = "TURNED-PUBLIC-CANARY"
VALUES = {"month": "2026-10", "rows": 7, "token": CANARY}


@pytest.fixture
def first(deployment: Deployment, requester: User) -> RunRequest:
    return requests.submit(deployment, VALUES, by=by(requester))


@pytest.fixture
def redeploy(deployment: Deployment, fake: FakePrefect) -> Callable[[], Deployment]:
    """Deploy again with `token: str` in place of `token: SecretStr`."""

    def change() -> Deployment:
        schema = json.loads(json.dumps(SCHEMA))
        del schema["properties"]["token"]["format"], schema["properties"]["token"]["writeOnly"]
        fake.change_deployment(deployment.prefect_id, parameter_schema=schema)
        sync.sync(deployment.environment)
        deployment.refresh_from_db()
        return deployment

    return change


def everywhere() -> str:
    """The text of every row of every table of the product, the trail included."""
    models = [model for app in ("flows", "runs", "portal") for model in apps.get_app_config(app).get_models()]
    return repr([list(model._default_manager.values()) for model in models])


def test_a_request_with_a_secret_that_is_none_any_more_is_not_repeated(
    first: RunRequest, redeploy: Callable[[], Deployment], requester: User
) -> None:
    redeploy()
    with refused("rerun.secret_exposed"):
        requests.rerun(first, by=by(requester))
    with refused("rerun.secret_exposed"):
        requests.rerun(first, by=by(requester), changes={"rows": 8})
    assert RunRequest.objects.count() == 1
    refusals = AuditEntry.objects.filter(outcome="refused")
    assert [entry.after["refused"]["code"] for entry in refusals] == ["rerun.secret_exposed"] * 2
    assert CANARY not in everywhere()


def test_with_the_secret_replaced_it_is(first: RunRequest, redeploy: Callable[[], Deployment], requester: User) -> None:
    redeploy()
    again = requests.rerun(first, by=by(requester), changes={"token": "public now"})
    assert again.spec.parameters["token"] == "public now"


def test_no_form_shows_it(
    first: RunRequest, redeploy: Callable[[], Deployment], requester: User, login: Callable[[User], Client]
) -> None:
    deployment = redeploy()
    client = login(requester)
    answer = client.get(form_of(deployment, f"?again={first.pk}"), follow=True)
    assert CANARY not in answer.content.decode()
    assert "form" not in answer.redirect_chain[-1][0]
    assert CANARY not in client.get(f"/admin/runs/runrequest/{first.pk}/change/").content.decode()


def test_runs_masked_before_the_redeploy_stay_masked(
    a_run: Callable[..., Run], redeploy: Callable[[], Deployment]
) -> None:
    run = a_run("COMPLETED", parameters=VALUES)
    assert run.parameters["token"] == MASK
    redeploy()
    mirror.refresh(run.environment, [run.prefect_id])
    mirror.sync(run.environment)
    run.refresh_from_db()
    assert run.parameters == {**VALUES, "token": MASK}
    assert CANARY not in everywhere()


def test_a_run_first_mirrored_after_the_redeploy_is_masked_as_its_request_was(
    first: RunRequest, redeploy: Callable[[], Deployment]
) -> None:
    dispatch.launch(first)
    first.refresh_from_db()
    assert first.flow_run_id
    assert not Run.objects.filter(prefect_id=first.flow_run_id).exists()
    redeploy()
    mirror.refresh(first.environment, [first.flow_run_id])
    assert Run.objects.get(prefect_id=first.flow_run_id).parameters == {**VALUES, "token": MASK}
    assert CANARY not in everywhere()


def test_a_value_given_in_public_after_the_redeploy_is_public(
    a_run: Callable[..., Run], redeploy: Callable[[], Deployment]
) -> None:
    redeploy()
    assert a_run("COMPLETED", parameters=VALUES).parameters == VALUES


def test_what_was_masked_for_want_of_a_deployment_is_shown_once_it_is_known(
    deployment: Deployment, fake: FakePrefect
) -> None:
    other = fake.add_deployment(flow_name="weekly", name="weekly", parameter_schema=SCHEMA)
    record = fake.add_run(other.id, state_type="COMPLETED", parameters=VALUES)
    mirror.refresh(deployment.environment, [record.id])
    assert set(Run.objects.get().parameters.values()) == {MASK}
    sync.sync(deployment.environment)
    mirror.refresh(deployment.environment, [record.id])
    assert Run.objects.get().parameters == {**VALUES, "token": MASK}


@pytest.mark.parametrize(
    ("secrets", "public", "found"),
    [
        ({"/token": "x"}, {"token": "x"}, ["/token"]),
        ({"/token": "x"}, {"token": "y"}, []),
        ({"/token": "x"}, {}, []),
        ({"/token": ""}, {"token": ""}, []),
        ({"/db": {"host": "h", "password": "p"}}, {"db": {"host": "h"}}, ["/db"]),
        ({"/db": {"host": "h", "password": "p"}}, {"db": {"host": "other"}}, []),
        ({"/l/1": "x"}, {"l": ["a", "x"]}, ["/l/1"]),
        ({"/l": ["a", "b"]}, {"l": [None, "b"]}, ["/l"]),
        ({"/a~1b": 5}, {"a/b": 5.0}, ["/a~1b"]),
        ({"/l/7": "x"}, {"l": "text"}, []),
    ],
)
def test_secrets_in_the_open_are_found_at_their_place(
    secrets: dict[str, Any], public: dict[str, Any], found: list[str]
) -> None:
    assert exposed(secrets, public) == found


def test_masks_are_found_at_every_depth() -> None:
    values = {"a": MASK, "b": {"c": [1, MASK]}, "d/e": {"f": MASK}, "g": "x"}
    assert masked_paths(values) == {"/a", "/b/c/1", "/d~1e/f"}

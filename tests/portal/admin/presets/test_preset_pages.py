"""The list of presets, the page of one, and what can be done there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.catalog import sync
from flows.models import Deployment
from runs.actors import Actor
from runs.governance import grants
from runs.models import Preset
from runs.requests import presets
from tests.cast import SCHEMA, by, person
from tests.fakes.prefect import FakePrefect
from tests.portal.page_elements import attributes, has_button, message_codes

pytestmark = pytest.mark.django_db
Login = Callable[[User], Client]
LIST = "admin:runs_preset_changelist"


@pytest.fixture
def shared(deployment: Deployment, requester: User) -> Preset:
    return presets.save(deployment, {"month": "2026-10", "rows": 7}, by=by(requester), name="month end", is_shared=True)


def page_of(client: Client, preset: Preset) -> str:
    return client.get(reverse("admin:runs_preset_change", args=[preset.pk])).content.decode()


def press(client: Client, act: str, preset: Preset, **data: str) -> list[str]:
    return message_codes(client.post(reverse(f"admin:runs_preset_{act}", args=[preset.pk]), data, follow=True))


def test_the_list_shows_one_s_own_and_shared_ones(
    shared: Preset, deployment: Deployment, requester: User, viewer: User, stranger: User, login: Login
) -> None:
    presets.save(deployment, {"rows": 7}, by=by(requester), name="private")
    names = {
        user.username: [each.name for each in login(user).get(reverse(LIST)).context["cl"].result_list]
        for user in (requester, viewer, stranger)
    }
    assert names == {"requester": ["month end", "private"], "viewer": ["month end"], "stranger": []}


def test_its_page_compares_the_values_with_the_defaults(shared: Preset, requester: User, login: Login) -> None:
    answer = login(requester).get(reverse("admin:runs_preset_change", args=[shared.pk]))
    assert [(row.name, row.words) for row in answer.context["rows"]] == [("month", []), ("rows", ["changed"])]
    assert f"?preset={shared.pk}" in answer.content.decode()


def test_only_the_owner_has_its_buttons(
    shared: Preset, requester: User, viewer: User, admin_user: User, login: Login
) -> None:
    buttons = {
        user.username: [has_button(page_of(login(user), shared), key) for key in ("rename", "delete")]
        for user in (requester, viewer, admin_user)
    }
    assert buttons == {"requester": [True, True], "viewer": [False, False], "administrator": [False, True]}
    assert "?preset=" not in page_of(login(viewer), shared)


def test_it_is_renamed_shared_and_deleted(shared: Preset, requester: User, login: Login) -> None:
    client = login(requester)
    assert press(client, "rename", shared, name="year end") == ["success"]
    assert press(client, "unshare", shared) == ["success"]
    shared.refresh_from_db()
    assert (shared.name, shared.is_shared) == ("year end", False)
    assert press(client, "share", shared) == ["success"]
    assert press(client, "rename", shared, name="") == ["preset.name_required"]
    assert press(client, "remove", shared) == ["success"]
    assert not Preset.objects.exists()


def test_others_are_refused_and_a_stranger_finds_nothing(shared: Preset, stranger: User, login: Login) -> None:
    other = login(person("colleague", "Operator"))
    for act in ("rename", "share", "unshare", "remove"):
        if act != "share":
            assert press(other, act, shared, name="mine") == ["preset.not_own"]
        answer = login(stranger).post(reverse(f"admin:runs_preset_{act}", args=[shared.pk]))
        assert answer.status_code == 404
    assert login(stranger).get(reverse("admin:runs_preset_change", args=[shared.pk])).status_code == 404


def test_who_may_not_view_parameters_does_not_find_a_shared_one(
    shared: Preset, deployment: Deployment, login: Login
) -> None:
    blind = person("blind")
    grants.grant(by=Actor.system(), person=blind, verbs=["see", "trigger"], environment=deployment.environment)
    client = login(blind)
    assert client.get(reverse("admin:runs_preset_change", args=[shared.pk])).status_code == 404
    assert (
        "month end" not in client.get(reverse("admin:flows_deployment_change", args=[deployment.pk])).content.decode()
    )
    assert "month end" not in client.get(reverse("admin:flows_deployment_run", args=[deployment.pk])).content.decode()


def test_what_no_longer_fits_is_named(
    shared: Preset, deployment: Deployment, fake: FakePrefect, requester: User, login: Login
) -> None:
    rows = {**SCHEMA["properties"]["rows"], "maximum": 5}
    fake.change_deployment(
        deployment.prefect_id, parameter_schema={**SCHEMA, "properties": {**SCHEMA["properties"], "rows": rows}}
    )
    sync.sync(deployment.environment)
    page = page_of(login(requester), shared)
    assert "parameter.maximum" in attributes(page, "data-code")


def test_it_stays_without_its_deployment(
    shared: Preset, deployment: Deployment, fake: FakePrefect, requester: User, login: Login
) -> None:
    fake.remove_deployment(deployment.prefect_id)
    sync.sync(deployment.environment)
    assert "?preset=" not in page_of(login(requester), shared)


def test_the_page_of_the_deployment_links_to_the_form(
    shared: Preset, deployment: Deployment, requester: User, login: Login
) -> None:
    page = login(requester).get(reverse("admin:flows_deployment_change", args=[deployment.pk])).content.decode()
    assert f"run/?preset={shared.pk}" in page

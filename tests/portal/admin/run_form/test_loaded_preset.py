"""Presets at the run form: saved from it, loaded into it, and checked again for whoever loads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.catalog import sync
from flows.models import Deployment
from runs import requests
from runs.actors import Actor
from runs.governance import grants
from runs.models import AuditEntry, Preset, RunRequest
from runs.requests import presets
from tests.cast import SCHEMA, by, person
from tests.fakes.prefect import FakePrefect
from tests.portal.forms import PLAIN, fill_in, form_of, hidden
from tests.portal.page_elements import attributes

pytestmark = pytest.mark.django_db
Login = Callable[[User], Client]


def save(client: Client, deployment: Deployment, name: str, query: str = "", **values: str) -> Any:
    """Type values and press “Save as preset”."""
    page = client.get(form_of(deployment, query)).content.decode()
    address = reverse("admin:flows_deployment_save_preset", args=[deployment.pk]) + query
    return client.post(address, {**PLAIN, **hidden(page), "preset_name": name, **values})


def opened(client: Client, deployment: Deployment, preset: Preset) -> str:
    return client.get(form_of(deployment, f"?preset={preset.pk}")).content.decode()


def marked(page: str) -> list[str]:
    """The codes of the errors beside the fields."""
    return [code for code in attributes(page, "data-code") if code.startswith(("parameter.", "access."))]


def with_rows(deployment: Deployment, fake: FakePrefect, **rows: Any) -> Deployment:
    properties = {**SCHEMA["properties"], "rows": {**SCHEMA["properties"]["rows"], **rows}}
    fake.change_deployment(deployment.prefect_id, parameter_schema={**SCHEMA, "properties": properties})
    sync.sync(deployment.environment)
    return Deployment.objects.select_related("environment").get(pk=deployment.pk)


def test_what_is_in_the_form_is_saved_and_stays_in_it(requester: User, deployment: Deployment, login: Login) -> None:
    typed = {"parameters-rows": "7", "parameters-token": "s3cret", "reason": "Closing", "run_name": "January"}
    answer = save(login(requester), deployment, "month end", **typed)
    page = answer.content.decode()
    preset = Preset.objects.get()
    assert attributes(page, "data-saved") == [str(preset.pk)]
    assert (preset.parameters, preset.is_shared, preset.owner) == ({"month": "2026-01", "rows": 7}, False, requester)
    for kept in ('value="7"', "Closing", 'value="January"'):
        assert kept in page
    assert "s3cret" not in page
    assert not RunRequest.objects.exists()


def test_it_is_shared_by_a_tick(requester: User, deployment: Deployment, login: Login) -> None:
    save(login(requester), deployment, "month end", preset_shared="1")
    assert Preset.objects.get().is_shared


def test_what_is_missing_can_be_filled_in_later(requester: User, deployment: Deployment, login: Login) -> None:
    save(login(requester), deployment, "few", **{"parameters-month": "", "parameters-rows": "7"})
    assert Preset.objects.get().parameters == {"rows": 7}


def test_a_wrong_value_saves_nothing_and_is_named(requester: User, deployment: Deployment, login: Login) -> None:
    page = save(login(requester), deployment, "many", **{"parameters-rows": "7000"}).content.decode()
    assert attributes(page, "data-error") == ["preset.values"]
    assert "parameter.maximum" in marked(page)
    assert not Preset.objects.exists()


def test_a_name_that_is_taken_is_an_answer_and_not_an_error_page(
    requester: User, deployment: Deployment, login: Login
) -> None:
    client = login(requester)
    save(client, deployment, "month end")
    assert attributes(save(client, deployment, "month end").content.decode(), "data-error") == ["preset.taken"]
    assert attributes(save(client, deployment, "").content.decode(), "data-error") == ["preset.name_required"]
    assert Preset.objects.count() == 1


def test_who_may_not_run_the_deployment_saves_none(viewer: User, deployment: Deployment, login: Login) -> None:
    address = reverse("admin:flows_deployment_save_preset", args=[deployment.pk])
    assert login(viewer).post(address, {**PLAIN, "preset_name": "mine"}).status_code == 403
    entry = AuditEntry.objects.order_by("-sequence")[0]
    assert (entry.verb, entry.outcome) == ("preset.create", "refused")


def test_a_reload_of_the_answer_shows_the_form(requester: User, deployment: Deployment, login: Login) -> None:
    address = reverse("admin:flows_deployment_save_preset", args=[deployment.pk])
    assert login(requester).get(address).url == form_of(deployment)


def test_loaded_it_fills_the_form_and_what_is_sent_is_requested(
    requester: User, deployment: Deployment, login: Login
) -> None:
    preset = presets.save(deployment, {"month": "2026-10", "rows": 7}, by=by(requester), name="month end")
    client = login(requester)
    page = opened(client, deployment, preset)
    assert attributes(page, "data-preset") == [str(preset.pk)]
    assert 'value="2026-10"' in page
    assert marked(page) == []
    typed = {"parameters-month": "2026-10", "parameters-rows": "7"}
    assert fill_in(client, deployment, f"?preset={preset.pk}", **typed).status_code == 302
    assert RunRequest.objects.get().spec.parameters == {"month": "2026-10", "rows": 7}


def test_the_form_offers_one_s_own_and_shared_ones(requester: User, deployment: Deployment, login: Login) -> None:
    other = person("colleague", "Operator")
    presets.save(deployment, {"rows": 7}, by=by(requester), name="mine")
    presets.save(deployment, {"rows": 7}, by=by(other), name="theirs", is_shared=True)
    presets.save(deployment, {"rows": 7}, by=by(other), name="private")
    answer = login(requester).get(form_of(deployment))
    assert [each.name for each in answer.context["own_presets"]] == ["mine"]
    assert [each.name for each in answer.context["shared_presets"]] == ["theirs"]


def test_one_that_is_not_visible_is_not_there(requester: User, deployment: Deployment, login: Login) -> None:
    preset = presets.save(deployment, {"rows": 7}, by=by(requester), name="mine")
    other = login(person("colleague", "Operator"))
    for key in (preset.pk, "0", "x", "9" * 30):
        assert other.get(form_of(deployment, f"?preset={key}")).status_code == 404


def test_nor_is_one_of_another_deployment(
    requester: User, deployment: Deployment, prod_deployment: Deployment, login: Login
) -> None:
    preset = presets.save(deployment, {"rows": 7}, by=by(requester), name="mine")
    assert login(requester).get(form_of(prod_deployment, f"?preset={preset.pk}")).status_code == 404


def test_one_that_is_deleted_meanwhile_takes_nothing_away(
    requester: User, deployment: Deployment, login: Login
) -> None:
    preset = presets.save(deployment, {"month": "2026-10", "rows": 7}, by=by(requester), name="mine")
    client, query = login(requester), f"?preset={preset.pk}"
    page = client.get(form_of(deployment, query)).content.decode()
    presets.delete(preset, by=by(requester))
    typed = {**PLAIN, **hidden(page), "parameters-month": "2026-10", "parameters-rows": "7"}
    assert client.post(form_of(deployment, query), typed).status_code == 302
    assert RunRequest.objects.get().spec.parameters["rows"] == 7


def test_a_value_that_no_longer_fits_is_marked_and_stays(
    requester: User, deployment: Deployment, fake: FakePrefect, login: Login
) -> None:
    preset = presets.save(deployment, {"month": "2026-10", "rows": 700}, by=by(requester), name="many")
    changed = with_rows(deployment, fake, maximum=500)
    page = opened(login(requester), changed, preset)
    assert marked(page) == ["parameter.maximum"]
    assert 'value="700"' in page
    assert "data-older" in page


def test_a_choice_that_is_gone_is_marked_and_refused_not_dropped(
    requester: User, deployment: Deployment, fake: FakePrefect, login: Login
) -> None:
    some = with_rows(deployment, fake, enum=[1, 7, 100])
    preset = presets.save(some, {"month": "2026-10", "rows": 7}, by=by(requester), name="seven")
    fewer = with_rows(deployment, fake, enum=[1, 100])
    client = login(requester)
    page = opened(client, fewer, preset)
    assert marked(page) == ["parameter.enum"]
    assert "“7” is not possible" in page
    answer = fill_in(client, fewer, f"?preset={preset.pk}", **{"parameters-month": "2026-10", "parameters-rows": ""})
    assert answer.status_code == 200
    assert not RunRequest.objects.exists()


def test_a_value_that_the_reader_s_grants_do_not_allow_is_marked(
    requester: User, deployment: Deployment, login: Login
) -> None:
    few = person("few")
    grants.grant(by=Actor.system(), person=few, verbs=["see", "see inputs"], environment=deployment.environment)
    limited = {"properties": {"rows": {"maximum": 5}}, "required": ["rows"]}
    grants.grant(
        by=Actor.system(), person=few, verbs=["trigger"], environment=deployment.environment, predicate=limited
    )
    many = presets.save(deployment, {"month": "2026-10", "rows": 7}, by=by(requester), name="many", is_shared=True)
    one = presets.save(deployment, {"month": "2026-10", "rows": 1}, by=by(requester), name="one", is_shared=True)
    client = login(few)
    assert "access.values" in marked(opened(client, deployment, many))
    assert marked(opened(client, deployment, one)) == []


def test_a_value_that_has_become_secret_is_left_out_and_named(
    requester: User, deployment: Deployment, fake: FakePrefect, login: Login
) -> None:
    preset = presets.save(deployment, {"month": "2026-10", "rows": 7}, by=by(requester), name="mine")
    month = {**SCHEMA["properties"]["month"], "writeOnly": True}
    fake.change_deployment(
        deployment.prefect_id, parameter_schema={**SCHEMA, "properties": {**SCHEMA["properties"], "month": month}}
    )
    sync.sync(deployment.environment)
    answer = login(requester).get(form_of(deployment, f"?preset={preset.pk}"))
    assert answer.context["loaded"].left_out == "month"
    assert "2026-10" not in answer.content.decode()
    assert "2026-10" not in login(requester).get(reverse("admin:runs_preset_change", args=[preset.pk])).content.decode()


def test_a_blind_rerun_takes_no_preset_and_keeps_none(requester: User, deployment: Deployment, login: Login) -> None:
    values = {"month": "2026-01", "rows": 7, "token": "opensesame"}
    original = requests.submit(deployment, values, by=by(requester))
    blind = person("blind")
    grants.grant(by=Actor.system(), person=blind, verbs=["see", "trigger", "rerun"], environment=deployment.environment)
    client, query = login(blind), f"?again={original.pk}"
    page = client.get(form_of(deployment, query)).content.decode()
    assert 'id="keep-values"' not in page
    address = reverse("admin:flows_deployment_save_preset", args=[deployment.pk]) + query
    assert client.post(address, {**PLAIN, **hidden(page), "preset_name": "theirs"}).status_code == 403
    assert not Preset.objects.exists()


def test_the_choice_of_no_preset_is_none(requester: User, deployment: Deployment, login: Login) -> None:
    answer = login(requester).get(form_of(deployment, "?preset="))
    assert answer.status_code == 200
    assert answer.context["loaded"] is None

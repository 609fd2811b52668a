"""Presets through the API: saved, listed, changed, deleted, and used by a request."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from flows.models import Deployment, Environment
from runs import requests
from runs.actors import Actor
from runs.governance import grants
from runs.models import Preset, RunRequest, TokenScope
from runs.requests import presets
from tests.cast import by, person
from tests.portal.api.programs import Programs

pytestmark = pytest.mark.django_db
VALUES = {"month": "2026-10", "rows": 7}
NEW = {"environment": "dev", "deployment": "monthly", "name": "month end", "parameters": VALUES}


def test_one_is_saved_read_changed_and_deleted(requester: User, deployment: Deployment, program: Programs) -> None:
    caller = program(requester)
    saved = caller.post("/presets", {**NEW, "parameters": {**VALUES, "token": "s3cret"}})
    assert saved.status == 201
    assert saved.body["parameters"] == VALUES
    address = f"/presets/{saved.body['id']}"
    assert caller.get(address).body == saved.body
    changed = caller.send("PATCH", address, {"name": "year end", "is_shared": True, "parameters": {"rows": 8}})
    assert (changed.body["name"], changed.body["is_shared"]) == ("year end", True)
    assert changed.body["parameters"] == {"rows": 8}
    assert caller.send("DELETE", address).body["name"] == "year end"
    assert caller.get(address).status == 404
    assert not Preset.objects.exists()


def test_sent_again_with_its_key_it_is_one(requester: User, deployment: Deployment, program: Programs) -> None:
    caller = program(requester)
    first, second = (caller.post("/presets", NEW, Idempotency_Key="k") for _ in range(2))
    assert first.body == second.body
    again = caller.post("/presets", NEW)
    assert (again.status, again.code) == (409, "preset.taken")


def test_wrong_values_are_named(requester: User, deployment: Deployment, program: Programs) -> None:
    answer = program(requester).post("/presets", {**NEW, "parameters": {"rows": 7000}})
    assert answer.status == 422
    assert [each["field"] for each in answer.body["errors"]] == ["rows"]


def test_the_list_holds_one_s_own_and_shared_ones(
    requester: User, viewer: User, dev: Environment, deployment: Deployment, program: Programs
) -> None:
    presets.save(deployment, VALUES, by=by(requester), name="mine")
    presets.save(deployment, VALUES, by=by(requester), name="ours", is_shared=True)
    blind = person("blind")
    grants.grant(by=Actor.system(), person=blind, verbs=["see", "trigger"], environment=dev)
    names = {
        user.username: [each["name"] for each in program(user).get("/presets").body["items"]]
        for user in (requester, viewer, blind)
    }
    assert names == {"requester": ["mine", "ours"], "viewer": ["ours"], "blind": []}
    filtered = program(requester).get("/presets?environment=dev&deployment=monthly/monthly&shared=true").body["items"]
    assert [each["name"] for each in filtered] == ["ours"]


def test_what_no_longer_fits_is_a_problem_and_a_new_secret_is_masked(
    requester: User, deployment: Deployment, program: Programs
) -> None:
    preset = presets.save(deployment, VALUES, by=by(requester), name="mine")
    schema = deployment.parameter_schema
    schema["properties"]["rows"]["maximum"] = 5
    schema["properties"]["month"]["writeOnly"] = True
    deployment.save()
    row = program(requester).get(f"/presets/{preset.pk}").body
    assert [each["field"] for each in row["problems"]] == ["rows"]
    assert "2026-10" not in str(row)


def test_a_request_is_filled_in_from_a_preset(requester: User, deployment: Deployment, program: Programs) -> None:
    presets.save(deployment, VALUES, by=by(requester), name="month end")
    caller, body = program(requester), {"environment": "dev", "deployment": "monthly", "preset": "month end"}
    assert caller.post("/changes", {**body, "parameters": {"rows": 9, "token": "s3cret"}}).status == 201
    assert requests.values_of(RunRequest.objects.get()) == {"month": "2026-10", "rows": 9, "token": "s3cret"}
    unknown = caller.post("/changes", {**body, "preset": "none"})
    assert (unknown.status, unknown.code) == (404, "preset.unknown")


def test_the_preset_of_another_person_is_unknown_until_it_is_shared(
    requester: User, deployment: Deployment, program: Programs
) -> None:
    preset = presets.save(deployment, VALUES, by=by(requester), name="month end")
    caller = program(person("colleague", "Operator"))
    body = {"environment": "dev", "deployment": "monthly", "preset": "month end"}
    assert caller.post("/changes", body).code == "preset.unknown"
    assert caller.get(f"/presets/{preset.pk}").status == 404
    presets.change(preset, by=by(requester), is_shared=True)
    assert caller.post("/changes", body).status == 201
    assert caller.send("PATCH", f"/presets/{preset.pk}", {"name": "mine"}).code == "preset.not_own"


def test_only_the_owner_deletes_one_and_a_token_makes_no_administrator(
    requester: User, viewer: User, admin_user: User, stranger: User, deployment: Deployment, program: Programs
) -> None:
    preset = presets.save(deployment, VALUES, by=by(requester), name="ours", is_shared=True)
    for user in (viewer, admin_user):
        answer = program(user).send("DELETE", f"/presets/{preset.pk}")
        assert (answer.status, answer.code) == (403, "preset.not_own")
    assert program(stranger).send("DELETE", f"/presets/{preset.pk}").status == 404
    assert Preset.objects.exists()


def test_a_token_that_only_reads_changes_none(
    requester: User, dev: Environment, deployment: Deployment, program: Programs
) -> None:
    preset = presets.save(deployment, VALUES, by=by(requester), name="month end")
    caller = program(requester, TokenScope(verbs=["see", "see inputs"], environment=dev))
    assert caller.get(f"/presets/{preset.pk}").status == 200
    for method, path in (("POST", "/presets"), ("PATCH", f"/presets/{preset.pk}"), ("DELETE", f"/presets/{preset.pk}")):
        body = {**NEW, "name": "other"} if method == "POST" else {"name": "other"} if method == "PATCH" else None
        assert caller.send(method, path, body).status == 403


def test_the_list_takes_as_many_queries_for_ten_as_for_one(
    requester: User, deployment: Deployment, program: Programs, django_assert_max_num_queries: object
) -> None:
    caller = program(requester)
    for number in range(10):
        presets.save(deployment, VALUES, by=by(requester), name=str(number))
    with django_assert_max_num_queries(20):  # type: ignore[operator]
        assert len(caller.get("/presets").body["items"]) == 10

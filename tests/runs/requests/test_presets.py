"""Presets: values under a name, without secrets, checked again by whoever loads them."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from flows.catalog import sync
from flows.models import Deployment, Environment
from flows.parameters import Invalid
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.governance import grants
from runs.models import AuditEntry, Grant, Preset, Verb
from runs.requests import presets
from runs.requests.preset_listings import PRESETS
from tests.cast import SCHEMA, by, person
from tests.fakes.prefect import FakePrefect
from tests.refusals import forbidden, refused

pytestmark = pytest.mark.django_db
MONTH = {"month": "2026-10", "rows": 7}


def last() -> AuditEntry:
    return AuditEntry.objects.order_by("-sequence")[0]


def names_for(user: User) -> list[str]:
    return [preset.name for preset in PRESETS.rows(by(user))]


def blind(environment: Environment) -> User:
    """Somebody who may run and not view parameters."""
    user = person("blind")
    grants.grant(by=Actor.system(), person=user, verbs=["see", "trigger"], environment=environment)
    return user


def with_schema(deployment: Deployment, fake: FakePrefect, **properties: Any) -> Deployment:
    schema = {**SCHEMA, "properties": {**SCHEMA["properties"], **properties}}
    fake.change_deployment(deployment.prefect_id, parameter_schema=schema)
    sync.sync(deployment.environment)
    return Deployment.objects.select_related("environment").get(pk=deployment.pk)


def test_a_preset_keeps_the_values_under_a_name_and_the_trail_says_so(deployment: Deployment, requester: User) -> None:
    preset = presets.save(deployment, MONTH, by=by(requester), name=" month end ")
    assert (preset.name, preset.parameters, preset.is_shared) == ("month end", MONTH, False)
    assert preset.schema_fingerprint == deployment.schema_fingerprint
    entry = last()
    assert (entry.verb, entry.outcome, entry.subject_id) == ("preset.create", "done", str(preset.pk))
    assert (entry.environment, entry.after["parameters"]) == ("dev", MONTH)


def test_a_secret_is_stored_nowhere(deployment: Deployment, requester: User) -> None:
    preset = presets.save(deployment, {**MONTH, "token": "s3cret"}, by=by(requester), name="month end")
    assert preset.parameters == MONTH
    presets.change(preset, by=by(requester), deployment=deployment, values={**MONTH, "rows": 8, "token": "s3cret"})
    assert "s3cret" not in str(list(Preset.objects.values())) + str(list(AuditEntry.objects.values()))


def test_what_is_missing_is_no_error_and_what_is_wrong_is(deployment: Deployment, requester: User) -> None:
    assert presets.save(deployment, {"rows": 7}, by=by(requester), name="few").parameters == {"rows": 7}
    with pytest.raises(Invalid) as caught:
        presets.save(deployment, {"rows": 7000}, by=by(requester), name="many")
    assert [error.field for error in caught.value.errors] == ["rows"]
    with pytest.raises(Invalid):
        presets.save(deployment, {"rows": {"__prefect_kind": "jinja"}}, by=by(requester), name="template")
    with pytest.raises(Invalid):
        presets.save(deployment, {"nothing": 1}, by=by(requester), name="unknown")


def test_it_needs_the_permission_to_run_the_deployment(deployment: Deployment, viewer: User, requester: User) -> None:
    with forbidden(Verb.TRIGGER):
        presets.save(deployment, MONTH, by=by(viewer), name="month end")
    assert (last().verb, last().outcome) == ("preset.create", "refused")
    preset = presets.save(deployment, MONTH, by=by(requester), name="month end")
    requester.groups.clear()
    with forbidden(Verb.TRIGGER):
        presets.change(preset, by=by(requester), is_shared=True)
    # What is one's own can be renamed and deleted all the same.
    presets.change(preset, by=by(requester), name="old")
    presets.delete(preset, by=by(requester))


def test_a_name_is_one_s_own_once_for_each_deployment(deployment: Deployment, requester: User) -> None:
    presets.save(deployment, MONTH, by=by(requester), name="month end")
    with refused("preset.taken"):
        presets.save(deployment, MONTH, by=by(requester), name="month end")
    other = presets.save(deployment, MONTH, by=by(requester), name="other")
    with refused("preset.taken"):
        presets.change(other, by=by(requester), name="month end")
    with refused("preset.name_required"):
        presets.save(deployment, MONTH, by=by(requester), name="  ")
    with refused("text.too_long"):
        presets.save(deployment, MONTH, by=by(requester), name="n" * 101)


def test_presets_and_their_values_are_bounded(
    deployment: Deployment, requester: User, fake: FakePrefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(presets.MOST_PRESETS):
        Preset.objects.create(
            environment=deployment.environment, full_name=deployment.full_name, owner=requester, name=str(number)
        )
    with refused("preset.too_many"):
        presets.save(deployment, MONTH, by=by(requester), name="one more")
    Preset.objects.all().delete()
    deployment = with_schema(deployment, fake, note={"title": "note", "type": "string", "position": 3})
    with refused("preset.too_large"):
        presets.save(deployment, {"note": "n" * presets.LARGEST}, by=by(requester), name="large")


def test_others_see_a_shared_one_if_they_may_view_parameters(
    deployment: Deployment, requester: User, viewer: User, stranger: User
) -> None:
    eyes_shut = blind(deployment.environment)
    preset = presets.save(deployment, MONTH, by=by(requester), name="month end")
    assert names_for(requester) == ["month end"]
    assert names_for(viewer) == []
    presets.change(preset, by=by(requester), is_shared=True)
    assert names_for(viewer) == ["month end"]
    assert names_for(eyes_shut) == names_for(stranger) == []
    presets.change(preset, by=by(requester), is_shared=False)
    assert names_for(viewer) == []


def test_one_s_own_goes_with_the_view_of_its_deployment(deployment: Deployment) -> None:
    user = blind(deployment.environment)
    presets.save(deployment, MONTH, by=by(user), name="mine")
    assert names_for(user) == ["mine"]
    for grant in Grant.objects.filter(person=user):
        grants.revoke(grant, by=Actor.system())
    assert names_for(user) == []


def test_only_the_owner_changes_it_and_an_administrator_deletes_what_is_shared(
    deployment: Deployment, requester: User, admin_user: User
) -> None:
    other = person("colleague", "Operator")
    preset = presets.save(deployment, MONTH, by=by(requester), name="month end", is_shared=True)
    for act in (
        lambda: presets.change(preset, by=by(other), name="mine"),
        lambda: presets.change(preset, by=by(other), is_shared=False),
        lambda: presets.delete(preset, by=by(other)),
        lambda: presets.change(preset, by=by(admin_user), name="mine"),
    ):
        with refused("preset.not_own"):
            act()
    presets.change(preset, by=by(requester), is_shared=False)
    with refused("preset.not_own"):
        presets.delete(preset, by=by(admin_user))
    presets.change(preset, by=by(requester), is_shared=True)
    presets.delete(preset, by=by(admin_user))
    assert (last().verb, last().outcome, last().before["name"]) == ("preset.delete", "done", "month end")
    with refused("preset.unknown"):
        presets.delete(preset, by=by(requester))


def test_a_change_names_what_changed_and_none_leaves_no_entry(deployment: Deployment, requester: User) -> None:
    preset = presets.save(deployment, MONTH, by=by(requester), name="month end")
    presets.change(preset, by=by(requester), name="year end", is_shared=True)
    assert (last().before, last().after) == (
        {"name": "month end", "shared": False},
        {"name": "year end", "shared": True},
    )
    count = AuditEntry.objects.count()
    presets.change(preset, by=by(requester), name="year end")
    assert AuditEntry.objects.count() == count


def test_a_scope_without_the_run_of_the_deployment_changes_nothing(deployment: Deployment, requester: User) -> None:
    preset = presets.save(deployment, MONTH, by=by(requester), name="month end")
    reading = Grant(person=requester, verbs=["see", "see inputs"], environment=deployment.environment)
    program = Actor.program(requester, token_id="t", scope=(reading,))
    assert [each.name for each in PRESETS.rows(program)] == ["month end"]
    with forbidden(Verb.TRIGGER, "access.scope"):
        presets.change(preset, by=program, name="mine")
    with forbidden(Verb.TRIGGER, "access.scope"):
        presets.delete(preset, by=program)


def test_a_name_finds_one_s_own_first_and_never_guesses(deployment: Deployment, requester: User) -> None:
    first, second = person("first", "Operator"), person("second", "Operator")
    shared = presets.save(deployment, MONTH, by=by(first), name="month end", is_shared=True)
    assert presets.find(deployment, "month end", by=by(requester)) == shared
    presets.save(deployment, MONTH, by=by(second), name="month end", is_shared=True)
    with refused("preset.ambiguous"):
        presets.find(deployment, "month end", by=by(requester))
    own = presets.save(deployment, MONTH, by=by(requester), name="month end")
    assert presets.find(deployment, "month end", by=by(requester)) == own
    with refused("preset.unknown"):
        presets.find(deployment, "year end", by=by(requester))


def test_it_survives_a_redeploy_and_its_values_are_checked_again(
    deployment: Deployment, requester: User, fake: FakePrefect
) -> None:
    preset = presets.save(deployment, MONTH, by=by(requester), name="month end")
    narrower = {**SCHEMA["properties"]["rows"], "maximum": 5}
    changed = with_schema(deployment, fake, rows=narrower)
    assert changed.schema_fingerprint != preset.schema_fingerprint
    values, secret = presets.load(preset, changed)
    assert (values, secret) == (MONTH, [])
    assert [(error.field, error.code) for error in presets.errors_of(changed, values)] == [
        ("rows", "parameter.maximum")
    ]


def test_a_value_that_has_become_secret_is_not_used(deployment: Deployment, requester: User, fake: FakePrefect) -> None:
    preset = presets.save(deployment, MONTH, by=by(requester), name="month end")
    changed = with_schema(deployment, fake, month={**SCHEMA["properties"]["month"], "writeOnly": True})
    assert presets.load(preset, changed) == ({"rows": 7}, ["month"])


def test_a_name_that_the_deployment_has_lost_is_kept_for_the_form_to_report(
    deployment: Deployment, requester: User
) -> None:
    preset = presets.save(deployment, MONTH, by=by(requester), name="month end")
    preset.parameters = {**MONTH, "gone": 1}
    assert presets.load(preset, deployment) == ({**MONTH, "gone": 1}, [])


def test_a_preset_grants_nothing(deployment: Deployment, requester: User) -> None:
    """Who may run with few rows only sees a shared preset with many, and the decision about them stays."""
    few = person("few")
    grants.grant(by=Actor.system(), person=few, verbs=["see", "see inputs"], environment=deployment.environment)
    grants.grant(
        by=Actor.system(),
        person=few,
        verbs=["trigger"],
        environment=deployment.environment,
        predicate={"properties": {"rows": {"maximum": 5}}},
    )
    preset = presets.save(deployment, MONTH, by=by(requester), name="month end", is_shared=True)
    values, _ = presets.load(presets.find(deployment, "month end", by=by(few)), deployment)
    assert values == preset.parameters
    assert not Permissions.of(by(few)).decide(Verb.TRIGGER, deployment, values)

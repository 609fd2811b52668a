"""One schedule that Prefect has from code is paused and resumed, and nothing else of it or beside it changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment, Environment
from flows.prefect_api.records import ScheduleRecord, Uncertain
from runs import dispatch
from runs.actors import Actor
from runs.governance import freezes, grants, schedule_pausing
from runs.models import Action, AuditEntry, Policy
from runs.models.action import State
from tests.cast import by, person
from tests.fakes import records
from tests.fakes.prefect import FakePrefect
from tests.portal.api.programs import Programs
from tests.portal.client.in_process import Commands
from tests.portal.page_elements import has_button, message_codes
from tests.refusals import refused

pytestmark = pytest.mark.django_db
Login = Callable[[User], Client]


@pytest.fixture
def nightly(dev: Environment, fake: FakePrefect) -> Deployment:
    """Of two schedules, of which one has no slug."""
    every = (
        replace(records.cron("0 6 * * *"), slug="nightly", parameters={"month": "2026-10", "token": "hush"}),
        records.cron("0 7 * * *"),
    )
    schema = {"type": "object", "properties": {"token": {"type": "string", "format": "password", "writeOnly": True}}}
    fake.add_deployment(flow_name="etl", name="nightly", schedules=every, parameter_schema=schema)
    sync.sync(dev)
    return Deployment.objects.get(full_name="etl/nightly")


@pytest.fixture
def operator(dev: Environment) -> User:
    user = person("operator")
    grants.grant(by=Actor.system(), person=user, verbs=["see", "pause"], environment=dev)
    return user


def stored(fake: FakePrefect, deployment: Deployment) -> dict[UUID, ScheduleRecord]:
    return {each.id: each for each in fake.deployment(deployment.prefect_id).schedules}


def carry_out(action: Action) -> Action:
    Action.objects.filter(pk=action.pk).update(next_attempt_at=None)
    dispatch.carry_out(action)
    action.refresh_from_db()
    return action


def id_without_slug(deployment: Deployment) -> str:
    return str(next(each["id"] for each in deployment.schedules if not each["slug"]))


@pytest.mark.parametrize("has_slug", [True, False])
def test_one_is_paused_and_resumed_and_all_else_stays(
    nightly: Deployment, operator: User, fake: FakePrefect, has_slug: bool
) -> None:
    before = stored(fake, nightly)
    reference = "nightly" if has_slug else id_without_slug(nightly)
    action = carry_out(schedule_pausing.pause(nightly, reference, by=by(operator), reason="source down"))
    assert (action.state, action.prefect_schedule in before) == (State.DONE, True)
    after = stored(fake, nightly)
    assert after == {**before, action.prefect_schedule: replace(before[action.prefect_schedule], is_active=False)}
    assert [call.method for call in fake.calls].count("switch_schedule") == 1
    nightly.refresh_from_db()
    with refused("schedule.unchanged"):
        schedule_pausing.pause(nightly, reference, by=by(operator))
    assert carry_out(schedule_pausing.resume(nightly, reference, by=by(operator))).state == State.DONE
    assert stored(fake, nightly) == before
    entry = AuditEntry.objects.get(verb="deployment.pause_schedule", outcome="done")
    assert (entry.subject_id, entry.reason, entry.before["is_active"], entry.after["is_active"]) == (
        *(str(nightly.pk), "source down"),
        *(True, False),
    )
    assert "hush" not in str(list(AuditEntry.objects.values_list("before", "after")))
    assert "hush" not in str(list(Action.objects.values_list("before", "wanted")))


def test_who_may_pause_the_deployment_may_pause_one_schedule_with_what_its_policies_ask_for(
    nightly: Deployment, operator: User, viewer: User, fake: FakePrefect
) -> None:
    with refused("access.no_grant"):
        schedule_pausing.pause(nightly, "nightly", by=by(viewer))
    Policy.objects.create(name="reasons", needs_reason=True)
    with refused("reason.required"):
        schedule_pausing.pause(nightly, "nightly", by=by(operator))
    with refused("schedule.unknown"):
        schedule_pausing.pause(nightly, "weekly", by=by(operator), reason="r")
    nightly.deleted_upstream_at = timezone.now()
    nightly.save()
    with refused("deployment.gone"):
        schedule_pausing.pause(nightly, "nightly", by=by(operator), reason="r")
    assert not Action.objects.exists()


def test_one_that_was_changed_or_replaced_in_prefect_is_left_alone(
    nightly: Deployment, operator: User, dev: Environment, fake: FakePrefect
) -> None:
    action = schedule_pausing.pause(nightly, "nightly", by=by(operator))
    moved = tuple(
        replace(each, parameters={"month": "2020-01"}) if each.slug else each
        for each in fake.deployment(nightly.prefect_id).schedules
    )
    fake.change_deployment(nightly.prefect_id, schedules=moved)
    assert carry_out(action).state == State.FAILED
    sync.sync(dev)
    action = schedule_pausing.pause(nightly, "nightly", by=by(operator))
    # As the deployment of code whose schedules have no slugs does: all of them have other ids.
    fake.change_deployment(nightly.prefect_id, schedules=tuple(replace(each, id=uuid4()) for each in moved))
    assert carry_out(action).state == State.FAILED
    assert all(each.is_active for each in stored(fake, nightly).values())
    assert not [call for call in fake.calls if call.method == "switch_schedule"]


def test_an_answer_that_was_lost_pauses_it_once(
    nightly: Deployment, operator: User, fake: FakePrefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    action, switch = schedule_pausing.pause(nightly, "nightly", by=by(operator)), fake.switch_schedule

    def lose(*args: object, **options: object) -> None:
        switch(*args, **options)  # type: ignore[arg-type]  # as they came
        raise Uncertain("no answer", code="connection.timeout")

    monkeypatch.setattr(fake, "switch_schedule", lose)
    assert carry_out(action).state == State.WANTED
    with refused("schedule.pending"):
        schedule_pausing.resume(nightly, "nightly", by=by(operator))
    assert carry_out(action).state == State.DONE
    assert [call.method for call in fake.calls].count("switch_schedule") == 1
    fake.ignores_changes = True
    monkeypatch.undo()
    nightly.refresh_from_db()
    assert carry_out(schedule_pausing.resume(nightly, "nightly", by=by(operator))).state == State.FAILED


def test_during_a_freeze_one_is_resumed_at_its_end_and_can_be_withdrawn_before(
    nightly: Deployment, operator: User, dev: Environment, admin_user: User, fake: FakePrefect
) -> None:
    carry_out(schedule_pausing.pause(nightly, "nightly", by=by(operator)))
    freezes.freeze(dev, by=by(admin_user), reason="year end")
    action = carry_out(schedule_pausing.resume(nightly, "nightly", by=by(operator)))
    assert action.state == State.WANTED
    other = carry_out(schedule_pausing.pause(nightly, "nightly", by=by(operator)))
    action.refresh_from_db()
    assert (action.state, other.state) == (State.OVERTAKEN, State.DONE)
    assert carry_out(action).state == State.OVERTAKEN
    action = schedule_pausing.resume(nightly, "nightly", by=by(operator))
    dev.freezes.update(lifted_at=timezone.now())
    assert carry_out(action).state == State.DONE
    assert all(each.is_active for each in stored(fake, nightly).values())


def test_the_page_the_api_and_the_command_pause_and_resume_one(
    nightly: Deployment,
    operator: User,
    viewer: User,
    fake: FakePrefect,
    login: Login,
    program: Programs,
    command: Commands,
) -> None:
    page = reverse("admin:flows_deployment_change", args=[nightly.pk])
    ids = {each["slug"]: each["id"] for each in nightly.schedules}
    address = reverse("admin:flows_deployment_pause_schedule", args=[nightly.pk, ids["nightly"]])
    assert not has_button(login(viewer).get(page).content.decode(), "pause-schedule")
    assert login(viewer).post(address).status_code == 403
    client = login(operator)
    assert client.get(page).content.decode().count('data-key="pause-schedule"') == 2
    assert message_codes(client.post(address, {"reason": "r"}, follow=True)) == ["success"]
    carry_out(Action.objects.get())
    assert has_button(client.get(page).content.decode(), "resume-schedule")
    row = program(operator).get("/environments/dev/deployments/etl/nightly").body
    assert {each["slug"]: each["is_active"] for each in row["prefect_schedules"]} == {"nightly": False, "": True}
    route = "/environments/dev/deployments/etl/nightly/schedules/nightly/resume"
    assert program(viewer).send("POST", route, {}).status == 403
    assert program(operator).send("POST", route, {"reason": "r"}).status == 202
    carry_out(Action.objects.latest("pk"))
    by_id = ids[""]
    assert command(operator, "pause", "etl/nightly", "-e", "dev", "--schedule", by_id, "--reason", "r").code == 0
    carry_out(Action.objects.latest("pk"))
    assert {each.slug: each.is_active for each in stored(fake, nightly).values()} == {"nightly": True, "": False}
    assert command(operator, "resume", "etl/nightly", "-e", "dev", "--schedule", by_id).code == 0

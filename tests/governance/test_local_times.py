"""A time that a person gives is judged alike at every door: passed, skipped by the clocks, or coming twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment, Environment
from runs import requests
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import freezes, grants
from runs.models import AuditEntry, Freeze, Grant, RunRequest
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.forms import fill_in, form_of
from tests.runs.conftest import Say, say  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db

TODAY = datetime(2026, 12, 1, 12, tzinfo=UTC)
VALUES = {"month": "2026-10"}
PASSED, SKIPPED, TWICE = "2026-11-20T10:00", "2027-03-28T02:30", "2027-10-31T02:30"
# Local time -> the code with which it is refused, by the portal's time zone; None: it is taken.
ZONES: dict[str, dict[str, str | None]] = {
    "Europe/Vienna": {PASSED: "past", SKIPPED: "time.skipped", TWICE: "time.repeated", f"{TWICE}+01:00": None},
    "UTC": {PASSED: "past", SKIPPED: None, TWICE: None, f"{TWICE}+01:00": None},
}
CASES = [(zone, typed, code) for zone, times in ZONES.items() for typed, code in times.items()]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.utils.timezone.now", lambda: TODAY)


@dataclass
class Doors:
    deployment: Deployment
    user: User
    client: Client
    say: Say

    def start_in_the_form(self, typed: str) -> set[str]:
        answer = fill_in(self.client, self.deployment, start="later", scheduled_for=typed)
        return errors(answer.context["options"]) if answer.status_code == 200 else set()

    def freeze_page(self, typed: str) -> set[str]:
        environment = self.deployment.environment
        freeze = reverse("admin:flows_environment_freeze", args=[environment.pk])
        answer = self.client.post(freeze, {"reason": "x", "until": typed}, follow=True)
        return {tag for message in answer.context["messages"] for tag in message.tags.split() if "." in tag}

    def freeze_by_command(self, typed: str) -> set[str]:
        return self.command("freeze", "dev", "--reason", "x", "--until", typed)

    def grant_page(self, typed: str) -> set[str]:
        values = {"who": f"person:{self.user.pk}", "effect": "allow", "verbs": ["see"], "valid_until": typed}
        answer = self.client.post(reverse("admin:runs_grant_add"), values)
        return errors(answer.context["form"]) if answer.status_code == 200 else set()

    def command(self, *words: str) -> set[str]:
        code, _, err = self.say(*words, "--as", self.user.get_username())
        return {err.strip().rpartition("(")[2].rstrip(")")} if code else set()


def errors(form: Any) -> set[str]:
    return {error.code for found in form.errors.as_data().values() for error in found}


DOORS: dict[Callable[[Doors, str], set[str]], str] = {
    Doors.start_in_the_form: "start.past",
    Doors.freeze_page: "freeze.past",
    Doors.freeze_by_command: "freeze.past",
    Doors.grant_page: "grant.past",
}


@pytest.fixture
def hands(deployment: Deployment, admin_user: User, login: Callable[[User], Client], say: Say) -> Doors:  # noqa: F811
    verbs = ["see", "see inputs", "trigger", "trigger later", "manage"]
    grants.grant(by=Actor.system(), person=admin_user, verbs=verbs, environment=deployment.environment)
    return Doors(deployment, admin_user, login(admin_user), say)


@pytest.mark.parametrize(("zone", "typed", "code"), CASES)
@pytest.mark.parametrize("door", DOORS)
def test_every_door_judges_a_time_alike(
    door: Callable[[Doors, str], set[str]], zone: str, typed: str, code: str | None, hands: Doors, settings: Any
) -> None:
    settings.TIME_ZONE = zone
    before = Grant.objects.count()
    expected = DOORS[door] if code == "past" else code
    assert door(hands, typed) == ({expected} if expected else set())
    made = RunRequest.objects.count() + Freeze.objects.count() + Grant.objects.count() - before
    assert made == (0 if code else 1)


def test_python_is_refused_a_passed_moment_too_and_the_trail_says_so(hands: Doors) -> None:
    viewers = Group.objects.get(name="Viewer")
    for act in (
        lambda: requests.submit(hands.deployment, VALUES, by=by(hands.user), scheduled_for=passed()),
        lambda: freezes.freeze(hands.deployment.environment, by=by(hands.user), reason="x", until=passed()),
        lambda: grants.grant(by=by(hands.user), group=viewers, verbs=["see"], valid_until=passed()),
    ):
        with pytest.raises(Refused) as refused:
            act()
        assert refused.value.code.endswith(".past")
    assert AuditEntry.objects.filter(outcome="refused").count() == 3
    assert not RunRequest.objects.exists()


def passed() -> datetime:
    return timezone.now() - timedelta(days=11)


def test_the_clocks_of_browser_and_server_may_differ_a_little(hands: Doors) -> None:
    start = TODAY - timedelta(seconds=90)
    requests.submit(hands.deployment, VALUES, by=by(hands.user), scheduled_for=start)
    assert RunRequest.objects.get().scheduled_for == start


# Parameters


@pytest.fixture
def dated(dev: Environment, fake: FakePrefect, hands: Doors) -> Deployment:
    node = {"title": "at", "type": "string", "format": "date-time"}
    fake.add_deployment(
        flow_name="dated", name="dated", parameter_schema={"type": "object", "properties": {"at": node}}
    )
    sync.sync(dev)
    return Deployment.objects.get(flow_name="dated")


@pytest.mark.parametrize(("zone", "typed", "code"), CASES)
def test_a_parameter_is_judged_as_well(
    hands: Doors, dated: Deployment, settings: Any, zone: str, typed: str, code: str | None
) -> None:
    settings.TIME_ZONE = zone
    page = fill_in(hands.client, dated, **{"parameters-at": typed})
    if code in ("past", None):  # a flow may work on what has passed
        (value,) = RunRequest.objects.values_list("spec__parameters__at", flat=True)
        assert datetime.fromisoformat(value).replace(tzinfo=None) == datetime.fromisoformat(typed).replace(tzinfo=None)
        assert datetime.fromisoformat(value).tzinfo
    else:
        assert code in page.content.decode()
        assert not RunRequest.objects.exists()


def test_a_default_that_comes_twice_is_shown_with_its_offset_and_sent_unchanged(
    hands: Doors, dated: Deployment, fake: FakePrefect, settings: Any
) -> None:
    settings.TIME_ZONE = "Europe/Vienna"
    default = "2027-10-31T02:30:00+01:00"
    fake.change_deployment(dated.prefect_id, parameter_defaults={"at": default})
    sync.sync(dated.environment)
    assert f'value="{default}"' in hands.client.get(form_of(dated)).content.decode()
    assert fill_in(hands.client, dated, **{"parameters-at": default}).status_code == 302
    assert RunRequest.objects.get().spec.parameters == {"at": default}

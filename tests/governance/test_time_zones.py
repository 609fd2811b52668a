"""A scheduled start is the same moment from every entry point, in every time zone, across clock changes.

Each request lives its whole life here: asked for, confirmed, approved, held back, and launched, where its digest is
taken again over what the database gives back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flows.catalog import sync
from flows.models import Deployment, Environment
from runs import audit, changes, dispatch, requests
from runs.access.decisions import Forbidden
from runs.actors import Actor
from runs.governance import freezes, grants
from runs.models import AuditEntry, RunRequest
from runs.models.request import State
from tests.cast import FAKES, by, key, person
from tests.fakes.prefect import FakePrefect
from tests.portal.client.in_process import Commands
from tests.portal.forms import PLAIN, confirm, fill_in, form_of, hidden
from tests.refusals import refused

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
TODAY = datetime(2026, 12, 1, 12, tzinfo=UTC)
ZONES = ["Europe/Vienna", "America/New_York", "Asia/Kolkata"]
# The moments in UTC at which clocks change.
CHANGES = {
    "Vienna forward": datetime(2027, 3, 28, 1, tzinfo=UTC),
    "Vienna back": datetime(2027, 10, 31, 1, tzinfo=UTC),
    "New York forward": datetime(2027, 3, 14, 7, tzinfo=UTC),
    "New York back": datetime(2027, 11, 7, 6, tzinfo=UTC),
}
OFFSETS = ["+01:00", "-05:00", "+05:30", "Z"]


@dataclass
class Clock:
    at: datetime = TODAY


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("django.utils.timezone.now", lambda: made.at)
    return made


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, settings: Any) -> ZoneInfo:
    """That of the portal."""
    settings.TIME_ZONE = request.param
    return ZoneInfo(request.param)


@pytest.fixture(params=CHANGES.values(), ids=list(CHANGES))
def moments(request: pytest.FixtureRequest) -> list[datetime]:
    """Around a change of clocks: in the last two hours before it, and in the first two after it."""
    return [request.param + timedelta(minutes=minutes) for minutes in (-90, -30, 30, 90)]


def spelled(moment: datetime, offset: str) -> str:
    zone = datetime.fromisoformat(f"2027-01-01T00:00{offset}").tzinfo
    return moment.astimezone(zone).isoformat().replace("+00:00", "Z")


def on_the_wall(moment: datetime, zone: ZoneInfo) -> str:
    """As it is typed into the form; nothing for a time that comes twice, which the form does not take."""
    local = moment.astimezone(zone)
    comes_twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
    return "" if comes_twice else local.strftime("%Y-%m-%dT%H:%M")


def newest() -> RunRequest:
    return RunRequest.objects.order_by("-pk")[0]


def launches_at(run_request: RunRequest, moment: datetime, clock: Clock) -> None:
    """It is held until its time, then sent for exactly that moment, and nothing was taken for a change."""
    run_request = RunRequest.objects.get(pk=run_request.pk)
    assert (run_request.scheduled_for, run_request.state) == (moment, State.APPROVED), run_request.message
    assert requests.is_intact(run_request.change)
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert run_request.state == State.APPROVED, run_request.message
    assert run_request.next_attempt_at == moment - timedelta(seconds=30)
    clock.at = moment - timedelta(seconds=20)
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert run_request.state == State.LAUNCHED, run_request.message
    (sent,) = FAKES[run_request.environment.server.api_url].flow_runs([run_request.flow_run_id])
    assert sent.expected_start_at == moment
    told = AuditEntry.objects.get(verb="request.submit", outcome="done", subject_id=str(run_request.pk))
    assert told.after["scheduled_for"] == moment.isoformat()
    assert audit.verify()
    clock.at = TODAY


@dataclass
class Hands:
    """Of somebody who asks, at each door."""

    deployment: Deployment
    requester: User
    client: Client
    say: Commands

    def form(self, at: str, query: str = "") -> None:
        assert fill_in(self.client, self.deployment, query, start="later", scheduled_for=at).status_code == 302

    def form_again(self, at: str) -> None:
        self.form(at, f"?again={self.python().pk}")

    def command(self, at: str) -> None:
        ended = self.say(self.requester, "run", "monthly", "-e", "dev", "-p", "month=2026-10", "--at", at)
        assert ended.code == 0, ended.err

    def python(self, at: str | datetime | None = None, **options: Any) -> RunRequest:
        planned = datetime.fromisoformat(at) if isinstance(at, str) else at
        values = {"month": "2026-10", "token": "hunter22"}
        return requests.submit(self.deployment, values, by=by(self.requester), scheduled_for=planned, **options)


@pytest.fixture
def hands(deployment: Deployment, requester: User, login: Login, command: Commands) -> Hands:
    return Hands(deployment, requester, login(requester), command)


@pytest.mark.parametrize("door", [Hands.command, Hands.python])
def test_an_offset_of_anywhere(
    hands: Hands, zone: ZoneInfo, moments: list[datetime], clock: Clock, door: Callable[[Hands, str], Any]
) -> None:
    for moment, offset in zip(moments, cycle(OFFSETS), strict=False):
        door(hands, spelled(moment, offset))
        launches_at(newest(), moment, clock)


def test_a_time_that_comes_twice_and_says_which_it_is(
    hands: Hands, zone: ZoneInfo, moments: list[datetime], clock: Clock
) -> None:
    for moment in moments:
        launches_at(hands.python(moment.astimezone(zone)), moment, clock)


@pytest.mark.parametrize("door", [Hands.form, Hands.form_again])
def test_a_time_of_the_portal(
    hands: Hands, zone: ZoneInfo, moments: list[datetime], clock: Clock, door: Callable[[Hands, str], Any]
) -> None:
    for moment in moments:
        if wall := on_the_wall(moment, zone):
            door(hands, wall)
            launches_at(newest(), moment, clock)


def test_confirmed_and_approved_by_another(
    prod_deployment: Deployment,
    approver: User,
    login: Login,
    hands: Hands,
    zone: ZoneInfo,
    moments: list[datetime],
    clock: Clock,
) -> None:
    client, other = hands.client, login(approver)
    signing = cycle(["page", "command", "python"])
    for moment, signs in zip(moments, signing, strict=False):
        if not (wall := on_the_wall(moment, zone)):
            continue
        typed = {"start": "later", "scheduled_for": wall, "reason": "Closing"}
        page = fill_in(client, prod_deployment, **typed).content.decode()
        # Back to the form and on again: the draft is decrypted and encrypted each time.
        page = confirm(client, prod_deployment, page, "", change="1").content.decode()
        assert f'value="{wall}' in page
        page = client.post(form_of(prod_deployment), {**PLAIN, **hidden(page), **typed}).content.decode()
        assert confirm(client, prod_deployment, page, "monthly/monthly").status_code == 302
        run_request = newest()
        assert run_request.state == State.HELD
        if signs == "page":
            assert (
                other.post(
                    f"/admin/runs/runrequest/{run_request.pk}/approve/", {"displayed_digest": run_request.change.digest}
                ).status_code
                == 302
            )
        elif signs == "command":
            ended = hands.say(approver, "approve", run_request.pk, "--digest", run_request.change.digest)
            assert ended.code == 0, ended.err
        else:
            change = run_request.change
            changes.approve(change, by=by(approver), displayed_digest=change.digest)
            run_request.refresh_from_db()
        launches_at(run_request, moment, clock)


# Repeated submissions


def test_the_same_moment_in_another_offset_is_the_same_wish(
    hands: Hands, zone: ZoneInfo, moments: list[datetime]
) -> None:
    for moment in moments:
        once = key()
        asked = [hands.python(spelled(moment, offset), submission_key=once) for offset in OFFSETS]
        assert len({each.pk for each in asked}) == len({each.change.digest for each in asked}) == 1
        with refused("submission.reused"):
            hands.python(moment + timedelta(microseconds=1), submission_key=once)


def test_what_was_planned_is_asked_for_again_at_once(hands: Hands, zone: ZoneInfo, moments: list[datetime]) -> None:
    first = hands.python(spelled(moments[0], "-05:00"))
    assert hands.say(hands.requester, "rerun", first.pk).code == 0
    for again in (newest(), requests.rerun(first, by=by(hands.requester))):
        dispatch.launch(again)
        again.refresh_from_db()
        assert (again.state, again.scheduled_for, again.spec.rerun_of) == (State.LAUNCHED, None, first), again.message


def test_a_time_without_an_offset_is_no_moment(hands: Hands) -> None:
    with refused("time.no_offset"):
        hands.python("2027-01-01T00:00")
    assert AuditEntry.objects.get(verb="request.submit").outcome == "refused"


# Other values that are stored in another notation


def schema_of(**nodes: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"title": name, **node} for name, node in nodes.items()}}


def deployed(environment: Environment, fake: FakePrefect, **nodes: dict[str, Any]) -> Deployment:
    fake.add_deployment(flow_name="odd", name="odd", parameter_schema=schema_of(**nodes))
    sync.sync(environment)
    return Deployment.objects.select_related("environment").get(environment=environment, flow_name="odd")


@pytest.mark.parametrize("number", [1.0, -0.0, 1e16, 1.2345678901234567e18, 1e-7, 5e-324, 0.1, 2**63 - 1])
@pytest.mark.parametrize("secret", [False, True])
def test_a_number_is_launched_as_it_was_asked_for(
    dev: Environment, fake: FakePrefect, requester: User, number: float, secret: bool
) -> None:
    odd = deployed(dev, fake, x={"type": "number", "writeOnly": secret}, y={"type": "object", "writeOnly": secret})
    run_request = requests.submit(odd, {"x": number, "y": {"b": [number], "a": None}}, by=by(requester))
    run_request = RunRequest.objects.get(pk=run_request.pk)
    assert requests.is_intact(run_request.change)
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert run_request.state == State.LAUNCHED, run_request.message
    again = requests.submit(odd, requests.values_of(run_request), by=by(requester), rerun_of=run_request)
    assert requests.is_intact(RunRequest.objects.get(pk=again.pk).change)
    assert audit.verify()


@pytest.mark.parametrize("secret", [False, True])
def test_the_order_of_names_makes_no_other_wish(
    dev: Environment, fake: FakePrefect, requester: User, secret: bool
) -> None:
    odd, once = deployed(dev, fake, x={"type": "object", "writeOnly": secret}), key()
    asked = [
        requests.submit(odd, {"x": value}, by=by(requester), submission_key=once)
        for value in ({"a": 1, "b": 2.0}, {"b": 2, "a": 1.0})
    ]
    assert asked[0] == asked[1]
    with refused("submission.reused"):
        requests.submit(odd, {"x": {"a": True, "b": 2}}, by=by(requester), submission_key=once)


def test_true_is_not_one_when_a_run_is_repeated(dev: Environment, fake: FakePrefect, requester: User) -> None:
    odd, other = deployed(dev, fake, x={}), person("other", "Viewer")
    grants.grant(by=Actor.system(), person=other, verbs=["see", "see inputs", "rerun"], environment=dev)
    first = requests.submit(odd, {"x": 1}, by=by(requester))
    assert requests.rerun(first, by=by(other), changes={"x": 1.0}).spec.verb == "rerun"
    with pytest.raises(Forbidden):
        requests.rerun(first, by=by(other), changes={"x": True})


def test_a_moment_in_the_trail_is_in_utc(dev: Environment, admin_user: User, clock: Clock) -> None:
    until = datetime.fromisoformat("2027-03-28T03:30+05:30")
    freezes.freeze(dev, by=by(admin_user), reason="Year end", until=until)
    assert AuditEntry.objects.get(verb="environment.freeze").after["until"] == "2027-03-27T22:00:00+00:00"
    assert audit.verify()

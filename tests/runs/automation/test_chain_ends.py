"""A chain has an owner and an end: after that, or without the owner, it cannot be run until somebody saves it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Environment
from runs.automation import chains, owner_checks
from runs.automation.chain_plan import plan_run
from runs.governance import tokens
from runs.models import AuditEntry, Chain, Policy, TokenScope
from tests.cast import by, person
from tests.fakes.prefect import FakePrefect
from tests.made_chains import deploy, end, go_on, make, step, where
from tests.portal.made_tokens import new_token, robot_of
from tests.refusals import refused
from tests.runs.conftest import Later

pytestmark = pytest.mark.django_db
STEPS = {"steps": [step("ingest"), step("train", "ingest")]}
MONTH = {"month": "2026-10"}


@pytest.fixture
def deployed(dev: Environment, fake: FakePrefect) -> Environment:
    deploy(dev, fake, "ingest", "train")
    return dev


@pytest.fixture
def chain(deployed: Environment, requester: User) -> Chain:
    return make(deployed, requester, *STEPS["steps"])


def save(chain: Chain, user: User, **options: object) -> Chain:
    return chains.save(chain.environment, chain.name, STEPS, by=by(user), chain=chain, **options).chain


def test_after_its_end_it_is_not_run_until_it_is_saved_and_a_run_under_way_goes_on(
    chain: Chain, requester: User, fake: FakePrefect, later: Later
) -> None:
    change = chains.request_run(chain, MONTH, by=by(requester))
    go_on()
    later(timedelta(days=367))
    for attempt in (chains.request_run, plan_run):
        with refused("chain.ended"):
            attempt(chain, MONTH, by=by(requester))
    end(change, "ingest", "COMPLETED", fake)
    assert where(change) == {"ingest": "completed", "train": "running"}
    renewed = save(chain, requester)
    assert renewed.number == 1
    assert chains.request_run(renewed, MONTH, by=by(requester)).pk > change.pk


def test_who_saves_it_is_its_owner_and_it_needs_one_who_is_active(chain: Chain, requester: User) -> None:
    assert chain.owner == requester
    User.objects.filter(pk=requester.pk).update(is_active=False)
    other = person("other", "Operator")
    with refused("chain.owner_inactive"):
        chains.request_run(chain, MONTH, by=by(other))
    saved = save(chain, other)
    assert (saved.owner, saved.number) == (other, 1)
    chains.request_run(chain, MONTH, by=by(other))
    entry = AuditEntry.objects.filter(verb="chain.change").latest("pk")
    assert (entry.before["owner"], entry.after["owner"]) == ("requester", "other")


def test_the_owner_of_a_service_account_owns_what_it_saves(chain: Chain, requester: User) -> None:
    robot = robot_of(requester)
    robot.user.groups.set(requester.groups.all())
    token = new_token(robot.user, TokenScope(verbs=["see", "trigger"]), owner=requester).token
    program = tokens.actor_of(token, address="192.0.2.1")
    steps = {"steps": [step("ingest")]}
    saved = chains.save(chain.environment, "By a robot", steps, by=program).chain
    assert saved.owner == requester
    # Without permission of their own the owner can renew it with the account.
    requester.groups.clear()
    owner_checks.check()
    assert list(Chain.objects.exclude(obstacle="")) == []
    robot.user.groups.clear()
    owner_checks.check()
    assert set(Chain.objects.exclude(obstacle="")) == {chain, saved}


def test_a_program_that_saves_the_same_again_renews_it_once_a_day(chain: Chain, requester: User, later: Later) -> None:
    until = chain.valid_until
    for hours, renewals in ((1, 0), (24, 1), (1, 1)):
        later(timedelta(hours=hours))
        saved = save(chain, requester)
        assert AuditEntry.objects.filter(verb="chain.change").count() == renewals
    assert (saved.number, saved.valid_until > until) == (1, True)
    assert save(chain, requester, valid_until=until).valid_until == until


def test_it_ends_within_what_the_policies_of_all_its_steps_allow(chain: Chain, requester: User) -> None:
    Policy.objects.create(name="short", environment=chain.environment, full_name="train/daily", schedule_days=30)
    with refused("automation.valid_until"):
        save(chain, requester, valid_until=timezone.now() + timedelta(days=31))
    assert save(chain, requester).valid_until < timezone.now() + timedelta(days=30, minutes=1)

"""Save policies and windows, and freeze: who can, what is refused, what is recorded."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Environment
from runs import notifications
from runs.access.decisions import Forbidden
from runs.actors import Actor
from runs.governance import freezes, grants, policies
from runs.models import AuditEntry, Freeze, Policy, Window
from tests.background import notices
from tests.cast import by
from tests.refusals import refused

pytestmark = pytest.mark.django_db


def window(**columns: Any) -> Window:
    return Window(**{"name": "night", "cron": "0 22 * * *", "minutes": 60, "time_zone": "Europe/Vienna"} | columns)


def last() -> AuditEntry:
    return AuditEntry.objects.latest("sequence")


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"stages": [{"needed": 0, "group": ""}]}, "policy.stage_approvals"),
        ({"stages": [{"needed": 10, "group": ""}]}, "policy.stage_approvals"),
        ({"stages": [{"needed": 1, "group": "Nobody"}]}, "policy.stage_group"),
        ({"stages": [{"needed": 1, "group": "Approver"}] * 2}, "policy.stage_duplicate"),
        ({"stages": [{"needed": 1, "group": ""}] * 2}, "policy.stage_duplicate"),
        ({"ticket_pattern": "(?=OPS)"}, "policy.ticket_pattern"),
        ({"ticket_pattern": "OPS-["}, "policy.ticket_pattern"),
        ({"ticket_link": "javascript:alert(1)"}, "policy.ticket_link_scheme"),
        ({"ticket_link": "https://tickets.example/"}, "policy.ticket_link_placeholder"),
    ],
)
def test_a_policy_that_nobody_could_fulfil_is_refused(admin_user: User, columns: dict[str, Any], code: str) -> None:
    with refused(code):
        policies.save_policy(Policy(name="rule", **columns), by=by(admin_user))
    assert not Policy.objects.exists()
    assert last().outcome == "refused"


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"cron": "0 25 * * *"}, "window.cron_never"),
        ({"cron": "0 0 31 2 *"}, "window.cron_never"),
        ({"cron": "0 0 0 1 1 *"}, "window.cron"),
        ({"cron": "@daily"}, "window.cron"),
        ({"time_zone": "Europe"}, "window.time_zone"),
        ({"time_zone": "../../etc/passwd"}, "window.time_zone"),
        ({"time_zone": ""}, "window.time_zone"),
        ({"minutes": 0}, "window.minutes"),
        ({"minutes": 31 * 24 * 60 + 1}, "window.minutes"),
    ],
)
def test_a_window_that_never_opens_is_refused(admin_user: User, columns: dict[str, Any], code: str) -> None:
    with refused(code):
        policies.save_window(window(**columns), by=by(admin_user))
    assert not Window.objects.exists()


def test_only_administrators_set_rules_up(requester: User, admin_user: User) -> None:
    row = Policy(name="rule")
    for act in (
        lambda: policies.save_policy(row, by=by(requester)),
        lambda: policies.save_window(window(), by=by(requester)),
    ):
        with refused("access.administrators_only"):
            act()
    policies.save_policy(row, by=by(admin_user))
    with refused("access.administrators_only"):
        policies.delete_policy(row, by=by(requester))
    assert Policy.objects.exists()


def test_a_change_is_told_with_what_was_before(dev: Environment, admin_user: User) -> None:
    row = window(environment=dev)
    policies.save_window(row, by=by(admin_user))
    row.minutes = 90
    policies.save_window(row, by=by(admin_user))
    entry = last()
    assert (entry.verb, entry.environment) == ("window.change", "dev")
    assert (entry.before, entry.after) == ({"minutes": 60}, {"minutes": 90})
    policies.delete_window(row, by=by(admin_user))
    assert last().before["cron"] == "0 22 * * *"
    assert not Window.objects.exists()


def test_a_name_is_given_once(admin_user: User) -> None:
    policies.save_policy(Policy(name="rule"), by=by(admin_user))
    with refused("name.taken"):
        policies.save_policy(Policy(name="rule"), by=by(admin_user))


# Freezing


def test_freezing_takes_manage_on_all_of_the_environment(dev: Environment, requester: User) -> None:
    grants.grant(by=Actor.system(), person=requester, verbs=["manage"], environment=dev, tag="crm")
    with pytest.raises(Forbidden):
        freezes.freeze(dev, by=by(requester), reason="Audit")
    grants.grant(by=Actor.system(), person=requester, verbs=["manage"], environment=dev)
    freezes.freeze(dev, by=by(requester), reason="Audit", ticket="OPS-1")
    freeze = freezes.freeze_of(dev)
    assert freeze
    assert (freeze.reason, freeze.ticket, freeze.begun_by_name) == ("Audit", "OPS-1", "requester")
    assert last().verb == "environment.freeze"


def test_a_freeze_needs_a_reason_and_a_time_to_come(dev: Environment, admin_user: User) -> None:
    with refused("freeze.reason_required"):
        freezes.freeze(dev, by=by(admin_user), reason="  ")
    with refused("freeze.past"):
        freezes.freeze(dev, by=by(admin_user), reason="Audit", until=timezone.now())
    with refused("text.too_long"):
        freezes.freeze(dev, by=by(admin_user), reason="x" * 501)
    with refused("text.too_long"):
        freezes.freeze(dev, by=by(admin_user), reason="Audit", ticket="x" * 101)


def test_there_is_one_freeze_at_a_time(dev: Environment, admin_user: User) -> None:
    freezes.freeze(dev, by=by(admin_user), reason="Audit")
    with refused("freeze.already"):
        freezes.freeze(dev, by=by(admin_user), reason="Audit")
    freezes.unfreeze(dev, by=by(admin_user), reason="Done")
    with refused("freeze.none"):
        freezes.unfreeze(dev, by=by(admin_user))
    assert freezes.freeze_of(dev) is None


def test_where_a_ticket_is_wanted_a_freeze_is_not_lifted_without_one(dev: Environment, admin_user: User) -> None:
    freezes.freeze(dev, by=by(admin_user), reason="Audit")
    Policy.objects.create(environment=dev, name="Ticketed", needs_reason=True, needs_ticket=True)
    with refused("ticket.required"):
        freezes.unfreeze(dev, by=by(admin_user), reason="Done")
    assert freezes.freeze_of(dev)
    freezes.unfreeze(dev, by=by(admin_user), reason="Done", ticket="OPS-9")
    entry = AuditEntry.objects.get(verb="environment.unfreeze", outcome="done")
    assert (entry.reason, entry.ticket) == ("Done", "OPS-9")


def test_a_freeze_whose_time_is_over_makes_way_for_the_next(dev: Environment, admin_user: User) -> None:
    freezes.freeze(dev, by=by(admin_user), reason="Audit", until=timezone.now() + timedelta(hours=1))
    Freeze.objects.update(until=timezone.now() - timedelta(minutes=1))
    assert freezes.freeze_of(dev) is None
    freezes.freeze(dev, by=by(admin_user), reason="Again")
    assert Freeze.objects.get(reason="Audit").lifted_by_name == Actor.system().name
    freezes.unfreeze(dev, by=by(admin_user))


def test_an_end_of_a_freeze_that_is_over_already_is_refused(dev: Environment, admin_user: User) -> None:
    freezes.freeze(dev, by=by(admin_user), reason="Audit", until=timezone.now() + timedelta(hours=1))
    Freeze.objects.update(until=timezone.now() - timedelta(minutes=1))
    with refused("freeze.none"):
        freezes.unfreeze(dev, by=by(admin_user))


def test_everybody_who_subscribed_hears_of_a_freeze_and_of_its_end(
    dev: Environment, prod: Environment, admin_user: User, viewer: User, stranger: User, requester: User
) -> None:
    for person in (viewer, stranger):
        notifications.subscribe(person, [("freeze", None)], by=by(person))
    notifications.subscribe(requester, [("freeze", prod.pk), ("waiting", None)], by=by(requester))
    freezes.freeze(dev, by=by(admin_user), reason="Audit")
    freezes.unfreeze(dev, by=by(admin_user))
    received = list(notices().order_by("pk").values_list("person__username", "subject"))
    assert [name for name, _ in received] == ["viewer", "viewer"]
    assert all(subject.startswith("dev ") for _, subject in received)
    assert received[0] != received[1], "the end is not announced as another freeze"
    assert notices().filter(target_kind="environment", target_id=dev.pk).count() == 2

"""Setting up policies and windows, and freezing: who may, what is refused, what is told."""

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
from runs.errors import Refused
from runs.governance import grants, policies
from runs.models import AuditEntry, Freeze, Notification, Policy, Window
from tests.cast import by

pytestmark = pytest.mark.django_db


def window(**columns: Any) -> Window:
    return Window(**{"name": "night", "cron": "0 22 * * *", "minutes": 60, "time_zone": "Europe/Vienna"} | columns)


def last() -> AuditEntry:
    return AuditEntry.objects.latest("sequence")


@pytest.mark.parametrize(
    ("columns", "refusal"),
    [
        ({"stages": [{"needed": 0, "group": ""}]}, "between 1 and 9 approvals"),
        ({"stages": [{"needed": 10, "group": ""}]}, "between 1 and 9 approvals"),
        ({"stages": [{"needed": 1, "group": "Nobody"}]}, "There is no group Nobody"),
        ({"stages": [{"needed": 1, "group": "Approver"}] * 2}, "Two stages are for Approver"),
        ({"stages": [{"needed": 1, "group": ""}] * 2}, "Two stages are for whoever may approve"),
        ({"ticket_pattern": "(?=OPS)"}, "cannot be judged"),
        ({"ticket_pattern": "OPS-["}, "cannot be judged"),
        ({"ticket_link": "javascript:alert(1)"}, "must begin with https://"),
        ({"ticket_link": "https://tickets.example/"}, "must have {ticket}"),
    ],
)
def test_a_policy_that_nobody_could_fulfil_is_refused(admin_user: User, columns: dict[str, Any], refusal: str) -> None:
    with pytest.raises(Refused, match=refusal):
        policies.save_policy(Policy(name="rule", **columns), by=by(admin_user))
    assert not Policy.objects.exists()
    assert last().outcome == "refused"


@pytest.mark.parametrize(
    ("columns", "refusal"),
    [
        ({"cron": "0 25 * * *"}, "is not a time that comes"),
        ({"cron": "0 0 31 2 *"}, "is not a time that comes"),
        ({"cron": "0 0 0 1 1 *"}, "it has five parts"),
        ({"cron": "@daily"}, "it has five parts"),
        ({"time_zone": "Europe"}, "There is no time zone Europe"),
        ({"time_zone": "../../etc/passwd"}, "There is no time zone"),
        ({"time_zone": ""}, "There is no time zone"),
        ({"minutes": 0}, "between a minute and 31 days"),
        ({"minutes": 31 * 24 * 60 + 1}, "between a minute and 31 days"),
    ],
)
def test_a_window_that_never_opens_is_refused(admin_user: User, columns: dict[str, Any], refusal: str) -> None:
    with pytest.raises(Refused, match=refusal):
        policies.save_window(window(**columns), by=by(admin_user))
    assert not Window.objects.exists()


def test_only_administrators_set_rules_up(requester: User, admin_user: User) -> None:
    row = Policy(name="rule")
    for act in (
        lambda: policies.save_policy(row, by=by(requester)),
        lambda: policies.save_window(window(), by=by(requester)),
    ):
        with pytest.raises(Refused, match="takes an administrator"):
            act()
    policies.save_policy(row, by=by(admin_user))
    with pytest.raises(Refused, match="takes an administrator"):
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
    with pytest.raises(Refused, match="There is a policy of the name rule already"):
        policies.save_policy(Policy(name="rule"), by=by(admin_user))


# Freezing


def test_freezing_takes_manage_on_all_of_the_environment(dev: Environment, requester: User) -> None:
    grants.grant(by=Actor.system(), person=requester, verbs=["manage"], environment=dev, tag="crm")
    with pytest.raises(Forbidden):
        policies.freeze(dev, by=by(requester), reason="Audit")
    grants.grant(by=Actor.system(), person=requester, verbs=["manage"], environment=dev)
    policies.freeze(dev, by=by(requester), reason="Audit", ticket="OPS-1")
    freeze = policies.freeze_of(dev)
    assert freeze
    assert (freeze.reason, freeze.ticket, freeze.begun_by_name) == ("Audit", "OPS-1", "requester")
    assert last().verb == "environment.freeze"


def test_a_freeze_needs_a_reason_and_a_time_to_come(dev: Environment, admin_user: User) -> None:
    with pytest.raises(Refused, match="why it is frozen"):
        policies.freeze(dev, by=by(admin_user), reason="  ")
    with pytest.raises(Refused, match="That moment has passed"):
        policies.freeze(dev, by=by(admin_user), reason="Audit", until=timezone.now())
    with pytest.raises(Refused, match="500 characters"):
        policies.freeze(dev, by=by(admin_user), reason="x" * 501)
    with pytest.raises(Refused, match="100 characters"):
        policies.freeze(dev, by=by(admin_user), reason="Audit", ticket="x" * 101)


def test_there_is_one_freeze_at_a_time(dev: Environment, admin_user: User) -> None:
    policies.freeze(dev, by=by(admin_user), reason="Audit")
    with pytest.raises(Refused, match="dev is frozen already"):
        policies.freeze(dev, by=by(admin_user), reason="Audit")
    policies.unfreeze(dev, by=by(admin_user), reason="Done")
    with pytest.raises(Refused, match="dev is not frozen"):
        policies.unfreeze(dev, by=by(admin_user))
    assert policies.freeze_of(dev) is None


def test_where_a_ticket_is_wanted_a_freeze_is_not_lifted_without_one(dev: Environment, admin_user: User) -> None:
    policies.freeze(dev, by=by(admin_user), reason="Audit")
    Policy.objects.create(environment=dev, name="Ticketed", needs_reason=True, needs_ticket=True)
    with pytest.raises(Refused, match="dev wants a ticket with every end of a freeze"):
        policies.unfreeze(dev, by=by(admin_user), reason="Done")
    assert policies.freeze_of(dev)
    policies.unfreeze(dev, by=by(admin_user), reason="Done", ticket="OPS-9")
    entry = AuditEntry.objects.get(verb="environment.unfreeze", outcome="done")
    assert (entry.reason, entry.ticket) == ("Done", "OPS-9")


def test_a_freeze_whose_time_is_over_makes_way_for_the_next(dev: Environment, admin_user: User) -> None:
    policies.freeze(dev, by=by(admin_user), reason="Audit", until=timezone.now() + timedelta(hours=1))
    Freeze.objects.update(until=timezone.now() - timedelta(minutes=1))
    assert policies.freeze_of(dev) is None
    policies.freeze(dev, by=by(admin_user), reason="Again")
    assert Freeze.objects.get(reason="Audit").lifted_by_name == "its time"
    policies.unfreeze(dev, by=by(admin_user))


def test_an_end_of_a_freeze_that_is_over_already_is_refused(dev: Environment, admin_user: User) -> None:
    policies.freeze(dev, by=by(admin_user), reason="Audit", until=timezone.now() + timedelta(hours=1))
    Freeze.objects.update(until=timezone.now() - timedelta(minutes=1))
    with pytest.raises(Refused, match="dev is not frozen"):
        policies.unfreeze(dev, by=by(admin_user))


def test_everybody_who_subscribed_hears_of_a_freeze_and_of_its_end(
    dev: Environment, prod: Environment, admin_user: User, viewer: User, stranger: User, requester: User
) -> None:
    for person in (viewer, stranger):
        notifications.subscribe(person, [("freeze", None)], by=by(person))
    notifications.subscribe(requester, [("freeze", prod.pk), ("waiting", None)], by=by(requester))
    policies.freeze(dev, by=by(admin_user), reason="Audit")
    policies.unfreeze(dev, by=by(admin_user))
    told = list(Notification.objects.order_by("pk").values_list("person__username", "subject"))
    assert told == [("viewer", "dev is frozen"), ("viewer", "dev goes on")]
    assert Notification.objects.filter(path=f"/admin/flows/environment/{dev.pk}/change/").count() == 2

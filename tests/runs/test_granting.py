"""Giving and taking permissions."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone

from flows.access import Refused, decide
from flows.models import Deployment, Grant, Verb
from runs import granting
from runs.models import AuditEntry
from tests.cast import by

pytestmark = pytest.mark.django_db


def test_a_grant_is_given_recorded_and_bites_at_once(deployment: Deployment, admin_user: User, stranger: User) -> None:
    granting.grant(by=by(admin_user), person=stranger, verbs=["trigger", "see"], tag="crm", reason="new colleague")
    assert decide(stranger, Verb.TRIGGER, deployment)
    entry = AuditEntry.objects.get(verb="grant.give")
    assert entry.after["verbs"] == ["see", "trigger"]
    assert (entry.actor_name, entry.reason) == ("administrator", "new colleague")


def test_a_revoked_grant_stays_to_be_read(deployment: Deployment, admin_user: User, stranger: User) -> None:
    row = granting.grant(by=by(admin_user), person=stranger, verbs=["see"])
    granting.revoke(row, by=by(admin_user), reason="left")
    assert not decide(stranger, Verb.SEE, deployment)
    row.refresh_from_db()
    assert row.revoked_by_name == "administrator"
    with pytest.raises(Refused, match="already"):
        granting.revoke(row, by=by(admin_user))


def test_who_does_not_administer_gives_and_takes_nothing(asker: User, stranger: User, admin_user: User) -> None:
    with pytest.raises(Refused, match="does not hold “manage”"):
        granting.grant(by=by(asker), person=stranger, verbs=["see"])
    row = granting.grant(by=by(admin_user), person=stranger, verbs=["see"])
    with pytest.raises(Refused, match="only grants that they gave"):
        granting.revoke(row, by=by(asker))
    assert AuditEntry.objects.filter(outcome="refused").count() == 2


def test_a_grant_that_makes_no_sense_is_refused(admin_user: User, stranger: User) -> None:
    now = timezone.now()
    group = Group.objects.get(name="Operator")
    with pytest.raises(Refused, match="one person or for one group"):
        granting.grant(by=by(admin_user), person=stranger, group=group, verbs=["see"])
    with pytest.raises(Refused, match="one person or for one group"):
        granting.grant(by=by(admin_user), verbs=["see"])
    with pytest.raises(Refused, match="verb"):
        granting.grant(by=by(admin_user), person=stranger, verbs=[])
    with pytest.raises(Refused, match="verb"):
        granting.grant(by=by(admin_user), person=stranger, verbs=["fly"])
    with pytest.raises(Refused, match="begin before it ends"):
        granting.grant(
            by=by(admin_user), person=stranger, verbs=["see"], valid_from=now, valid_until=now - timedelta(days=1)
        )
    assert not Grant.objects.filter(person=stranger).exists()

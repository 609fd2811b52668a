"""Addresses that email can be sent to, and the approvers who have none."""

from __future__ import annotations

import re

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Func, IntegerField, Q, QuerySet, Value

from runs.access.decisions import active_grants
from runs.models import Grant, Verb

# In the notation that Python and Postgres share; the mail server knows whether there is such a mailbox.
USABLE = r"^[^@\s]+@[^@\s]+$"


def is_usable(address: str) -> bool:
    return re.fullmatch(USABLE, address) is not None


def approvers_without_address() -> QuerySet[User]:
    """Return the active people who may approve something, and to whom no email can be sent about it.

    Their messages are in the portal alone.
    """
    approving = active_grants().filter(effect=Grant.Effect.ALLOW, verbs__contains=[Verb.APPROVE]).order_by()
    may_approve = Q(pk__in=approving.exclude(person=None).values("person"))
    may_approve |= Q(groups__in=approving.exclude(group=None).values("group"))
    people = User.objects.filter(may_approve, is_active=True, is_staff=True, service_account=None)
    return people.exclude(email__regex=USABLE).distinct()


def mute_approvers() -> Func | Value:
    """Return how many these are as a column, for who reads other rows anyway: Postgres counts them once for all rows.

    Nobody misses an address where no mail server is set.
    """
    if not settings.MAIL_HOST:
        return Value(0)
    keys = ArraySubquery(approvers_without_address().values("pk"))
    return Func(keys, function="CARDINALITY", output_field=IntegerField())

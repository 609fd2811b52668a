"""Lists of hooks and their deliveries, for programs: those of the actor's service accounts, within its scope."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q

from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.automation import renewals
from runs.listing import Filter, Listing
from runs.listings import IN_ENVIRONMENT, SINCE, UNTIL
from runs.models import Hook, HookDelivery, Verb


def sees_hook(by: Actor, permissions: Permissions) -> Q:
    """Return the condition for the hooks that the actor sees; the deployment must be visible too."""
    own = Q(account__owner=by.user.pk) | Q(account__user=by.user.pk)
    return own & permissions.q(Verb.SEE, deployment="deployment__", base="deployment__")


HOOKS = Listing(
    "hooks",
    Hook,
    sees_hook,
    ("name", "pk"),
    {
        "environment": Filter("deployment__environment__slug", str, IN_ENVIRONMENT.description),
        "enabled": Filter("is_enabled", bool, "Whether it is enabled."),
        "ended": Filter(renewals.is_ended, bool, "Whether its end has passed."),
    },
    related=("deployment__environment", "account__user", "owner"),
)
# Of one hook, which its reader was found to see.
DELIVERIES = Listing(
    "deliveries",
    HookDelivery,
    lambda by, permissions: Q(),
    ("-received_at", "-pk"),
    {
        "hook": Filter("hook", int, "Key of the hook."),
        "outcome": Filter("outcome", str, "accepted, ignored or refused."),
        "since": Filter("received_at__gte", datetime, SINCE.description),
        "until": Filter("received_at__lt", datetime, UNTIL.description),
    },
)

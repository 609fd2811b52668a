"""Lists of event rules and of what they did, for programs: those of the actor, within its scope."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q

from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.automation import renewals
from runs.listing import Filter, Listing
from runs.listings import IN_ENVIRONMENT, SINCE, UNTIL
from runs.models import EventRule, RuleFiring, Verb


def sees_rule(by: Actor, permissions: Permissions) -> Q:
    """Return the condition for the rules that the actor sees; the deployment must be visible too."""
    own = Q(owner=by.user.pk, deleted_at=None)
    return own & permissions.q(Verb.SEE, deployment="deployment__", base="deployment__")


EVENT_RULES = Listing(
    "event rules",
    EventRule,
    sees_rule,
    ("name", "pk"),
    {
        "environment": Filter("deployment__environment__slug", str, IN_ENVIRONMENT.description),
        "deployment": Filter("deployment__full_name", str, "Full name of the deployment that it runs."),
        "trigger": Filter("trigger", str, "run, artifact, delivery or event."),
        "enabled": Filter("is_enabled", bool, "Whether it is enabled."),
        "ended": Filter(renewals.is_ended, bool, "Whether its end has passed."),
    },
    related=("deployment__environment__server", "owner", "environment", "hook", "token"),
)
# Of one rule, which its reader was found to see.
FIRINGS = Listing(
    "firings",
    RuleFiring,
    lambda by, permissions: Q(),
    ("-pk",),
    {
        "rule": Filter("rule", int, "Key of the rule."),
        "outcome": Filter("outcome", str, "waiting, requested, skipped, refused or failed."),
        "code": Filter("code", str, "Why there is no request."),
        "since": Filter("matched_at__gte", datetime, SINCE.description),
        "until": Filter("matched_at__lt", datetime, UNTIL.description),
    },
)

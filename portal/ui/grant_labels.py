"""Labels of grants: who, which permissions, which scope, and whether they are active."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.utils import timezone

from flows.wording import deployment_name
from runs.access import predicates
from runs.models import Grant, Selector, Verb
from runs.models.grant import PART_OF

# Group of permissions -> verb -> its description. The form and docs/permissions.md show them in this order.
VERBS: dict[str, dict[Verb, str]] = {
    "View": {
        Verb.SEE: "view deployments, runs and requests, without parameters, logs and artifacts",
        Verb.SEE_INPUTS: "view parameters of runs and requests; secrets stay masked",
        Verb.SEE_LOGS: "view logs, artifacts and the messages of states and task runs",
    },
    "Run": {
        Verb.TRIGGER: "request a run that starts now",
        Verb.TRIGGER_LATER: "request a run at a later time",
        Verb.RERUN: "request a re-run with the same parameters",
        Verb.BACKFILL: "request many runs at once, one for each step of a range",
        Verb.SCHEDULE: "set up recurring runs",
    },
    "Stop": {
        Verb.CANCEL: "cancel runs, and cancel requests of other users",
        Verb.PUT_BACK: "put a stalled run back to Scheduled",
        Verb.FORCE_CANCEL: "mark a stuck run as cancelled or failed",
        Verb.PAUSE: "pause and resume schedules in Prefect",
    },
    "Approve": {
        Verb.APPROVE: "approve and reject requests of other users",
        Verb.BREAK_GLASS: "start one request without its approvals; it must be reviewed afterwards",
        Verb.OVERRIDE_FREEZE: "start runs outside change windows and during a freeze",
    },
    "Manage": {
        Verb.MANAGE: "grant permissions they hold themselves; freeze and unfreeze; set limits and service levels",
        Verb.POST_EVENT: "post events that event rules react to, with a token",
    },
}
# Examples of conditions: meaning -> JSON Schema. The grant form offers them, and tests check that they are valid.
EXAMPLES: dict[str, str] = {
    "only region EU": '{"properties": {"region": {"const": "EU"}}}',
    "at most 1000 rows": '{"properties": {"rows": {"type": "integer", "maximum": 1000}}}',
    "never with force": '{"properties": {"force": {"not": {"const": true}}}}',
}


def scope_label(grant: Grant) -> str:
    """Return what a grant covers, such as “prod, flow monthly”."""
    environment = str(grant.environment) if grant.environment else everywhere(grant)
    return ", ".join([environment, *narrowed(grant)])


def narrowed(grant: Selector) -> list[str]:
    """Return the parts of the scope below the environment; empty for all of it."""
    # A full name contains the flow's name, so the flow alone is only shown without one.
    places = []
    if grant.full_name:
        places.append(deployment_name(grant.full_name))
    elif grant.flow_name:
        places.append(f"flow {grant.flow_name}")
    if grant.tag:
        places.append(f"tag {grant.tag}")
    return places


def everywhere(grant: Grant) -> str:
    # As in `runs.access.decisions`: only a grant that names a protected environment opens it, but a deny closes all.
    return "all environments" if is_deny(grant) else "all unprotected environments"


def is_deny(grant: Grant) -> bool:
    return grant.effect == Grant.Effect.DENY


def join(words: Iterable[str]) -> str:
    """Return a list in words, such as “view, run and cancel”."""
    found = [str(word) for word in words]
    return ", ".join(found[:-1]) + (" and " if found[:-1] else "") + found[-1] if found else "nothing"


def denied_together() -> list[tuple[str, str]]:
    """Return the labels of each verb whose denial denies others too, and of those."""
    parts: dict[str, list[str]] = {}
    for part, whole in PART_OF.items():
        parts.setdefault(str(whole.label), []).append(str(part.label))
    return [(whole, join(names)) for whole, names in parts.items()]


def verbs_label(grant: Grant) -> str:
    return f"{'may not' if is_deny(grant) else 'may'} {join(grant.verb_labels)}"


def permissions_label(grant: Grant) -> str:
    """Return the permissions of a grant, such as “view, run” or “deny cancel”."""
    return f"{'deny ' if is_deny(grant) else ''}{', '.join(grant.verb_labels)}"


def condition(grant: Grant) -> str:
    """Return the condition on parameters, such as “only when region is EU”; empty without one."""
    if not grant.predicate:
        return ""
    return f"{'when' if is_deny(grant) else 'only when'} {predicates.describe(grant.predicate)}"


def grant_row(grant: Grant) -> dict[str, object]:
    """Return the context of `portal/grant/_verbs.html`."""
    return {"grant": grant, "is_deny": is_deny(grant), "condition": condition(grant)}


def describe(grant: Grant) -> str:
    bound = condition(grant)
    return f"{grant.subject} {verbs_label(grant)} in {scope_label(grant)}{f', {bound}' if bound else ''}."


def status_label(grant: Grant, now: datetime | None = None) -> tuple[str, str]:
    """Return the label and colour of a grant's status; `StandingFilter` has the same rules in SQL."""
    now = now or timezone.now()
    if grant.revoked_at:
        return "Revoked", "grey"
    if grant.valid_until and grant.valid_until <= now:
        return "Expired", "grey"
    if grant.valid_from and grant.valid_from > now:
        return "Scheduled", "blue"
    return "Active", "green"


def has_ended(grant: Grant) -> bool:
    """Whether it can never become active again."""
    return status_label(grant)[0] in ("Revoked", "Expired")

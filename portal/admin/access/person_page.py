"""The permissions of a user: for their page, for "My access", and for the preview of what they see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.db.models import prefetch_related_objects
from django.http import HttpRequest
from django.utils import timezone

from flows.models import Deployment, Environment
from portal.admin.deployments.list import is_runnable
from portal.admin.run_form.quick_run import Offers, can_run_quickly, offers_in, quick_values
from portal.ui import grant_labels, menu
from runs.access.decisions import Permissions
from runs.models import Grant, Verb

MOST_DEPLOYMENTS = 100


@dataclass(frozen=True, slots=True)
class Right:
    """One grant in one environment, with its permissions and scope as labels."""

    grant: Grant
    place: str
    verbs: str
    condition: str
    is_deny: bool


@dataclass(frozen=True, slots=True)
class Place:
    """One environment with the grants that apply there; those that deny come first, because they win."""

    environment: Environment
    rights: Sequence[Right]


def rights(permissions: Permissions, environments: Iterable[Environment]) -> dict[str, Any]:
    """Return the context of `portal/people/_places.html`."""
    # Each grant says by which group it came.
    prefetch_related_objects(permissions.grants, "group")
    return {
        "places": [Place(environment, rights_in(permissions, environment)) for environment in environments],
        "is_administrator": permissions.is_administrator,
    }


def rights_in(permissions: Permissions, environment: Environment) -> list[Right]:
    # A grant for all environments is listed in each that it reaches, as `runs.access.decisions` counts it: an
    # allowing one leaves out protected environments, a denying one does not.
    found = [
        Right(
            grant,
            ", ".join(grant_labels.narrowed(grant)) or "all deployments",
            ", ".join(grant.verb_labels),
            grant_labels.condition(grant),
            grant_labels.is_deny(grant),
        )
        for grant in permissions.grants
        if grant.environment_id == environment.pk
        or (grant.environment_id is None and (grant_labels.is_deny(grant) or not environment.is_protected))
    ]
    # Denials first, because they win over everything below them.
    return sorted(found, key=lambda right: (not right.is_deny, right.place))


class TryForm(forms.Form):
    """What to preview, and why."""

    words = forms.CharField(
        label="Deployment name contains",
        required=False,
        max_length=200,
        widget=forms.TextInput({"class": "portal-input"}),
    )
    reason = forms.CharField(
        label="Reason",
        required=False,
        max_length=500,
        widget=forms.TextInput({"class": "portal-input"}),
        help_text="Recorded in the audit trail with the preview.",
    )


@dataclass(frozen=True, slots=True)
class Preview:
    """One deployment as the user sees it: the buttons of its page, and other permissions on it."""

    deployment: Deployment
    buttons: str
    others: str
    why_no_run: str


def preview(permissions: Permissions, words: str) -> dict[str, Any]:
    """Return what a user sees: menu entries, environments, and deployments with their buttons."""
    # The menu asks the admin classes, which take a request. This one never reaches a view.
    probe = HttpRequest()
    probe.user = permissions.user
    # Only what is deployed: the preview answers what they can do now.
    found = permissions.deployments().filter(deleted_upstream_at=None)
    if words:
        found = found.filter(full_name__icontains=words)
    listed = list(found.order_by("environment__position", "full_name")[:MOST_DEPLOYMENTS])
    # One reading for each environment, not for each deployment.
    offers = {place: offers_in(place) for place in {each.environment for each in listed}}
    return {
        "sidebar": [entry.title for entries in menu.MENU.values() for entry in entries if menu.is_shown(probe, entry)],
        "environments": list(permissions.environments()),
        "rows": [row(permissions, deployment, offers[deployment.environment]) for deployment in listed],
        "left_out": found.count() - len(listed),
        "at": timezone.now(),
    }


def row(permissions: Permissions, deployment: Deployment, offers: Offers) -> Preview:
    # Keep in step with the buttons of `portal.admin.deployments.page`: the preview promises exactly those.
    may = {verb: permissions.decide(verb, deployment) for verb in Verb}
    can_run = (may[Verb.TRIGGER].allowed or may[Verb.TRIGGER_LATER].allowed) and is_runnable(deployment)
    buttons = [
        (can_run, "Run"),
        (can_run and can_run_quickly(permissions, deployment, quick_values(deployment, offers)), "Quick run"),
        (may[Verb.PAUSE].allowed and is_runnable(deployment), "Resume" if deployment.is_paused else "Pause"),
    ]
    others = [str(verb.label) for verb in Verb if may[verb] and verb not in (Verb.SEE, Verb.TRIGGER, Verb.PAUSE)]
    return Preview(
        deployment,
        ", ".join(name for is_visible, name in buttons if is_visible),
        ", ".join(others),
        "" if can_run else may[Verb.TRIGGER].sentence,
    )

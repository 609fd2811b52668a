"""What a person may do, for their page and for the preview with their grants."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils import timezone

from flows.models import Deployment, Environment
from portal.admin.deployments.list import is_runnable
from portal.admin.deployments.page import can_quick_run
from portal.ui import grant_labels, menu
from runs.access.decisions import Permissions
from runs.models import Grant, Verb

MOST_DEPLOYMENTS = 100


@dataclass(frozen=True, slots=True)
class Right:
    """One grant as it counts in one environment: `verbs` as a list of words."""

    grant: Grant
    place: str
    verbs: str
    condition: str
    is_prohibition: bool


@dataclass(frozen=True, slots=True)
class Place:
    """One environment and what the grants say there, prohibitions first: they win."""

    environment: Environment
    rights: Sequence[Right]


def rights(held: Permissions, environments: Iterable[Environment]) -> dict[str, Any]:
    """For each environment what of the grants counts there."""
    return {
        "places": [Place(environment, there(held, environment)) for environment in environments],
        "is_administrator": held.user.is_superuser,
    }


def there(held: Permissions, environment: Environment) -> list[Right]:
    found = [
        Right(
            grant,
            ", ".join(grant_labels.narrowed(grant)) or "all deployments",
            ", ".join(grant.verb_labels),
            grant_labels.condition(grant),
            grant_labels.is_prohibition(grant),
        )
        for grant in held.grants
        if grant.environment_id == environment.pk
        or (grant.environment_id is None and (grant_labels.is_prohibition(grant) or not environment.is_protected))
    ]
    return sorted(found, key=lambda right: (not right.is_prohibition, right.place))


class TryForm(forms.Form):
    """What to look at, and why."""

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
    """One deployment as they would see it: the buttons of its page, and what else they may do there."""

    deployment: Deployment
    buttons: str
    others: str
    why_no_run: str


def preview(held: Permissions, words: str) -> dict[str, Any]:
    """What they would see: the sidebar, environments, and deployments with their buttons."""
    probe = HttpRequest()
    probe.user = held.user  # nothing is done with it but asking what is shown
    found = held.deployments().filter(deleted_upstream_at=None)
    if words:
        found = found.filter(full_name__icontains=words)
    shown = list(found.order_by("environment__position", "full_name")[:MOST_DEPLOYMENTS])
    return {
        "sidebar": [entry.title for entries in menu.MENU.values() for entry in entries if menu.is_shown(probe, entry)],
        "environments": list(held.environments()),
        "rows": [row(held, deployment) for deployment in shown],
        "left_out": found.count() - len(shown),
        "at": timezone.now(),
    }


def row(held: Permissions, deployment: Deployment) -> Preview:
    may = {verb: held.decide(verb, deployment) for verb in Verb}
    asks = (may[Verb.TRIGGER].allowed or may[Verb.TRIGGER_LATER].allowed) and is_runnable(deployment)
    buttons = [
        (asks, "Run"),
        (asks and can_quick_run(held, deployment), "Quick run"),
        (may[Verb.PAUSE].allowed and is_runnable(deployment), "Resume" if deployment.is_paused else "Pause"),
    ]
    others = [str(verb.label) for verb in Verb if may[verb] and verb not in (Verb.SEE, Verb.TRIGGER, Verb.PAUSE)]
    return Preview(
        deployment,
        ", ".join(name for is_there, name in buttons if is_there),
        ", ".join(others),
        "" if asks else may[Verb.TRIGGER].sentence,
    )

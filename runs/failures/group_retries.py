"""Retry the runs of a failure group, one by one, with the service of a single retry."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import QuerySet

from flows import encryption
from runs import requests
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.errors import Refused
from runs.models import Action, ChangeRequest, FailureGroup, Run, Verb
from runs.models.run import FAILED

MOST_AT_ONCE = 100
# Proxies end a request after 60 s; what is not reached by then is left alone, and is found again the next time.
LONGEST = 25.0


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of one run: what was made, or why it was refused."""

    run: Run
    made: Action | ChangeRequest | None = None
    code: str = ""
    why: str = ""


def retryable_runs(group: FailureGroup, permissions: Permissions) -> QuerySet[Run]:
    """Return the runs of the group that the actor sees and that are still failed, the newest failure first."""
    visible = permissions.q(Verb.SEE, deployment="access_deployment__")
    runs = Run.objects.filter(visible, failure__group=group, state_type__in=FAILED, deleted_upstream_at=None)
    return runs.order_by("-failure__failed_at", "-pk")


def retry_runs(runs: Iterable[Run], *, by: Actor, reason: str = "", ticket: str = "") -> list[Retried]:
    """Request a retry of each run, in a transaction of its own: the refusal of one does not stop the others."""
    deadline = time.monotonic() + LONGEST
    found = []
    for run in runs:
        if time.monotonic() > deadline:
            break
        try:
            found.append(Retried(run, requests.retry(run, by=by, reason=reason, ticket=ticket)))
        except (Refused, encryption.DecryptionError) as refusal:
            found.append(Retried(run, None, getattr(refusal, "code", "key.unreadable"), str(refusal)))
    return found

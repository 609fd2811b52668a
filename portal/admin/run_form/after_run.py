"""Where somebody lands after a run was requested."""

from __future__ import annotations

from django.urls import reverse

from runs.models import RunRequest
from runs.models.request import State

# The page of the request leads on to the run as soon as there is one: see `followRun` in live.js.
FOLLOW = "follow"


def address(run_request: RunRequest) -> str:
    """Return the page of the request; it leads on to the run where nothing holds the run back."""
    page = reverse("admin:runs_runrequest_change", args=[run_request.pk])
    is_held = run_request.scheduled_for or run_request.state == State.HELD
    return page if is_held else f"{page}?{FOLLOW}=1"

"""Notices that a request repeats one of a moment ago, such as after the browser's Back button."""

from __future__ import annotations

from datetime import timedelta

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.ui import times
from runs import requests
from runs.models import RunRequest

RECENT = timedelta(minutes=10)
MOST_COMPARED = 20


def hint(run_request: RunRequest) -> SafeString | None:
    """Return a sentence if the requester has just requested the same; a re-run repeats a request on purpose."""
    if run_request.spec.rerun_of_id is not None:
        return None
    since = run_request.requested_at - RECENT
    candidates = (
        RunRequest.objects.filter(
            deployment=run_request.deployment_id,
            change__requested_by=run_request.change.requested_by_id,
            sort_at__gt=since,
            sort_at__lt=run_request.requested_at,
            spec__parameters=run_request.spec.parameters,
            scheduled_for=run_request.scheduled_for,
        )
        .select_related("spec")
        .order_by("-sort_at", "-pk")[:MOST_COMPARED]
    )
    values = requests.values_of(run_request)
    earlier = next((each for each in candidates if requests.values_of(each) == values), None)
    if earlier is None:
        return None
    age = times.span((run_request.requested_at - earlier.requested_at).total_seconds())
    url = reverse("admin:runs_runrequest_change", args=[earlier.pk])
    return format_html('You requested the same {} before this: <a href="{}">request {}</a>.', age, url, earlier.pk)

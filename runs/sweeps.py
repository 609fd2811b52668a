"""What an environment does not keep any longer, in all tables."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from flows.models import Environment
from runs import events, mirror, notifications
from runs.automation import firing_retention, hook_deliveries
from runs.consumers import CONSUMERS
from runs.governance import job_trusts


def sweep(environment: Environment) -> bool:
    """Delete the oldest of what an environment does not keep; return whether there is more."""
    cut = before(environment.keep_events_days)
    return any(
        [
            mirror.sweep_runs(environment),
            cut is not None and forget(environment, cut),
            cut is not None and hook_deliveries.forget(environment, cut),
        ]
    )


def sweep_shared() -> bool:
    """Delete what is about several environments, as soon as none of them keeps it; return whether there is more.

    Tokens of CI jobs that expired long ago go whatever the environments say: there is one for each job. So do events
    that event rules skipped, but the newest.
    """
    days = list(Environment.objects.values_list("keep_events_days", flat=True))
    cut = before(max(days) if days and all(days) else 0)
    return any([job_trusts.sweep_tokens(), firing_retention.forget(cut), cut is not None and forget(None, cut)])


def forget(environment: Environment | None, cut: datetime) -> bool:
    return any([events.forget(environment, cut, CONSUMERS), notifications.forget(environment, cut)])


def before(days: int) -> datetime | None:
    """Return what is so many days ago; None for 0, which keeps everything."""
    return timezone.now() - timedelta(days=days) if days else None

"""Which messages follow from which events. Permissions are checked when an event is handled."""

from __future__ import annotations

from collections.abc import Callable

from runs.models import RunEvent
from runs.notifications import place_notices, request_notices, rule_notices, run_notices, schedule_notices

Kind = RunEvent.Kind


def notify_of(event: RunEvent) -> None:
    """Create the messages that follow from one event of `NOTICES`."""
    NOTICES[event.kind](event)


NOTICES: dict[str, Callable[[RunEvent], None]] = {
    Kind.REQUEST_WAITING: request_notices.notify_approvers,
    Kind.REQUEST_OVERDUE: request_notices.notify_of_overdue,
    Kind.REQUEST_APPROVED: request_notices.notify_requester,
    Kind.REQUEST_REJECTED: request_notices.notify_requester,
    Kind.REQUEST_LOST: request_notices.notify_of_loss,
    Kind.STEP_WAITING: request_notices.notify_at_gate,
    Kind.REQUEST_STOPPED: request_notices.notify_of_stop,
    Kind.OVERRIDE_USED: request_notices.notify_of_override,
    Kind.DEFINITION_MOVED: request_notices.notify_of_definition,
    Kind.RUNS_STALLED: run_notices.notify_of_stalls,
    Kind.FAILURE_APPEARED: run_notices.notify_of_failure,
    Kind.FAILURE_REGRESSED: run_notices.notify_of_failure,
    Kind.FAILURE_RESOLVED: run_notices.notify_of_failure,
    Kind.LEVEL_BREACHED: run_notices.notify_of_breaches,
    Kind.LEVEL_CLEARED: run_notices.notify_of_breaches,
    Kind.ENVIRONMENT_DOWN: place_notices.notify_of_outage,
    Kind.ENVIRONMENT_BACK: place_notices.notify_of_outage,
    Kind.DRIFT_CHANGED: place_notices.notify_of_drift,
    Kind.FREEZE_STARTED: rule_notices.notify_of_freeze,
    Kind.FREEZE_ENDED: rule_notices.notify_of_freeze,
    Kind.RULES_LOOSENED: rule_notices.notify_of_loosening,
    Kind.RULES_CHANGED_OUTSIDE: rule_notices.notify_of_outside_changes,
    Kind.ENVIRONMENT_DISABLED: rule_notices.notify_of_disabling,
    Kind.SCHEDULE_PAUSED: schedule_notices.notify_of_schedule,
    Kind.SCHEDULE_MISSED: schedule_notices.notify_of_schedule,
    Kind.SCHEDULE_ENDING: schedule_notices.notify_of_schedule,
    Kind.SCHEDULE_DRIFTED: schedule_notices.notify_of_drift,
    Kind.SCHEDULE_HOLDS: schedule_notices.notify_of_drift,
    Kind.AUTOMATION_ENDING: schedule_notices.notify_of_ending,
    Kind.AUTOMATION_PREVENTED: schedule_notices.notify_of_obstacle,
    Kind.BYPASS_FOUND: rule_notices.notify_of_bypasses,
    Kind.DEPLOYMENTS_UNASSIGNED: rule_notices.notify_of_unassigned,
}

"""Routes that pause and resume one schedule that Prefect has of a deployment, from code or made there."""

from __future__ import annotations

from typing import Annotated

from django.http import HttpRequest
from ninja import Path, Router, Status

from portal.api.actions import ActionRow
from portal.api.bodies import body
from portal.api.catalog_routes import DEPLOYMENT, Reference, actor_of, deployment_of
from portal.api.idempotency import idempotent
from portal.api.limit_routes import Consent, consent
from portal.api.problems import PROBLEMS
from runs.governance import schedule_pausing

router = Router(tags=["Environments and deployments"])
SCHEDULE = f"{DEPLOYMENT}/schedules/{{schedule}}"
ScheduleReference = Annotated[str, Path(description="Prefect's id of the schedule, or its slug.", max_length=300)]


class ScheduleSwitch(Consent):
    model_config = body(reason="Source system is down")


@router.post(f"{SCHEDULE}/pause", response={202: ActionRow, **PROBLEMS}, summary="Pause one schedule of a deployment")
@idempotent
def pause_schedule(
    request: HttpRequest, environment: str, deployment: Reference, schedule: ScheduleReference, payload: ScheduleSwitch
) -> Status[ActionRow]:
    """Let Prefect start no more runs of a schedule from code, or that was made there; others of the deployment go on.

    Schedules of the portal have routes of their own.
    """
    by = actor_of(request)
    found = deployment_of(by, environment, deployment)
    return Status(202, ActionRow.of(schedule_pausing.pause(found, schedule, by=by, **consent(payload))))


@router.post(f"{SCHEDULE}/resume", response={202: ActionRow, **PROBLEMS}, summary="Resume one schedule of a deployment")
@idempotent
def resume_schedule(
    request: HttpRequest, environment: str, deployment: Reference, schedule: ScheduleReference, payload: ScheduleSwitch
) -> Status[ActionRow]:
    """Let Prefect start its runs again. During a freeze that waits for its end."""
    by = actor_of(request)
    found = deployment_of(by, environment, deployment)
    return Status(202, ActionRow.of(schedule_pausing.resume(found, schedule, by=by, **consent(payload))))

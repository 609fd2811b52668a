"""Failed runs, and the groups that the portal makes of them."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import F
from django.utils import timezone

from flows.catalog import health
from flows.models import Deployment, Environment
from runs import mirror, tasks
from runs.models import FailedRun, FailureGroup, Run
from tests.cast import FAKES

SAYS_NOTHING = "1/2 states failed."


def fail(deployment: Deployment, message: str = "ValueError: bad row 7", *, task: str = "", error: str = "") -> Run:
    """Make a run that fails with a message, in a task of this name if there is one, and have the mirror read it.

    With a task, the flow only says that something failed. `error` is the last line of its log.
    """
    environment = Environment.objects.get(pk=deployment.environment_id)
    fake = FAKES[environment.server.api_url]
    # What a first reading finds is history, of which nothing is made.
    health.note_runs_synced(environment, timezone.now() - timedelta(hours=1))
    run = fake.add_run(deployment.prefect_id, state_type="RUNNING")
    if task:
        names = {"name": f"{task}-a1b", "task_key": f"{task}-0a1b2c3d"}
        fake.add_task_run(run.id, **names, state_type="FAILED", state_name="Failed", message=message)
    if error:
        fake.add_log(run.id, error, level=40)
    fail_again(Run(environment=environment, prefect_id=run.id), SAYS_NOTHING if task else message)
    return Run.objects.select_related("environment").get(prefect_id=run.id)


def fail_again(run: Run, message: str = "ValueError: bad row 8") -> None:
    FAKES[run.environment.server.api_url].set_state(
        run.prefect_id, "FAILED", message=f"Flow run encountered an exception: {message}" if ":" in message else message
    )
    mirror.refresh(run.environment, [run.prefect_id])


def grouped(*, is_patient: bool = True) -> list[FailureGroup]:
    """Let the time pass until failures are grouped, and return the groups, the oldest first."""
    tasks.deliver_events()
    if is_patient:
        FailedRun.objects.filter(group=None).update(seen_at=F("seen_at") - timedelta(minutes=1))
    tasks.group_failures()
    return list(FailureGroup.objects.select_related("environment", "access_deployment__environment").order_by("pk"))


def a_failure(deployment: Deployment, message: str = "ValueError: bad row 7", *, number: int = 1) -> FailureGroup:
    """Make a group of so many failed runs."""
    for _ in range(number):
        run = fail(deployment, message)
    grouped()
    return FailureGroup.objects.select_related("environment", "access_deployment__environment", "owner").get(
        failed_runs__run=run
    )

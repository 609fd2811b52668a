"""Background tasks, called by qcluster: each loads one row and calls one service."""

from __future__ import annotations

import logging

from django.contrib.auth.models import User
from django.db.models import Q
from django.utils import timezone

from flows.catalog import automations, health, limit_catalog
from flows.catalog import sync as catalog_sync
from flows.catalog.same_server import SameServer
from flows.encryption import DecryptionError
from flows.models import Environment, Server
from flows.prefect_api.records import PrefectError
from runs import (
    changes,
    connection_checks,
    consumers,
    definitions,
    dispatch,
    failures,
    levels,
    mirror,
    notifications,
    outages,
    queue,
    sweeps,
)
from runs.audit import export_files, partitions
from runs.automation import chain_steps, end_reminders, owner_checks, rule_firing, schedule_clock, schedule_copies
from runs.drift import pairs
from runs.errors import Refused
from runs.governance import accounts, bypasses, configuration, deployment_moves, freezes, outside_changes
from runs.models import Action, ChangeRequest, ConnectionTest, Export, Run, RunRequest
from runs.models.action import OPEN
from runs.models.request import State
from runs.notifications import sending

log = logging.getLogger(__name__)

# A task takes primary keys only: anything else would be stale when it runs. `runs.queue.TASKS` has its priority.


def launch(pk: int) -> None:
    dispatch.launch(RunRequest.objects.get(pk=pk))


def launch_backfill(pk: int, lane: int) -> None:
    """Launch some runs of a backfill; the rest in a further task, so that others are not held up."""
    if dispatch.launch_together(ChangeRequest.objects.get(pk=pk), lane):
        queue.enqueue("runs.tasks.launch_backfill", pk, lane)


def recheck(environment_pk: int) -> None:
    """Launch what waited for a freeze that has ended."""
    changes.recheck(Environment.objects.get(pk=environment_pk))


def carry_out(pk: int) -> None:
    dispatch.carry_out(Action.objects.get(pk=pk))


def deliver_events() -> None:
    """Have everything that reacts to events handle the new ones."""
    consumers.deliver()


def fire_rules() -> None:
    """Request what event rules want now; the rest in a further task, so that others are not held up."""
    if rule_firing.fire_due():
        queue.enqueue("runs.tasks.fire_rules")


def group_failures() -> None:
    """Group the failures whose details are known; the rest in a further task, so that others are not held up."""
    if failures.group_due():
        queue.enqueue("runs.tasks.group_failures")


def evaluate_levels() -> None:
    levels.evaluate()


def send_deliveries(lane: int) -> None:
    """Send what is due to one address; the rest in a further task, so that others are not held up."""
    if sending.send_due(lane):
        queue.enqueue("runs.tasks.send_deliveries", lane)


def compare_environments() -> None:
    """Compare the deployments that were changed with those of other environments; the rest in a further task."""
    if pairs.refresh() == pairs.MOST:
        queue.enqueue("runs.tasks.compare_environments")


def send_reset_link(pk: int) -> None:
    """Mail a link for a new password. It is not sent again after an error: the person can request another."""
    person = User.objects.get(pk=pk)
    # Disabled since it was requested, for example.
    if accounts.can_have_reset_link(person):
        try:
            notifications.send_reset_link(person, notifications.REQUESTED)
        except notifications.NotSent as error:
            log.error("%s", error)


def export_audit(pk: int) -> None:
    export_files.build_export(Export.objects.get(pk=pk))


def maintain_audit() -> None:
    """Close the last partition of the trail when it is time, and delete expired exports."""
    partitions.cut()
    export_files.forget()


def sweep(environment_pk: int) -> None:
    """Delete some of what an environment does not keep; the rest in further tasks, behind everything else."""
    if sweeps.sweep(Environment.objects.get(pk=environment_pk)):
        queue.enqueue("runs.tasks.sweep", environment_pk)


def sweep_all() -> None:
    """Queue a sweep of each environment that does not keep everything."""
    for environment in Environment.objects.exclude(keep_runs_days=0, keep_events_days=0):
        queue.enqueue("runs.tasks.sweep", environment.pk)
    if sweeps.sweep_shared():
        queue.enqueue("runs.tasks.sweep_all")


def report_outside_changes() -> None:
    outside_changes.report()


def report_outages() -> None:
    outages.report()


def check_definition(pk: int) -> None:
    """Compare the definition of an approved request again, now that its run has started."""
    definitions.check_started(
        RunRequest.objects.select_related("environment__server", "deployment__environment", "change", "spec").get(pk=pk)
    )


def follow_up(environment_pk: int) -> None:
    """Read the runs of the launched requests that were not read yet, without waiting for an event.

    Their state only, one call for 200 runs: states, tasks and logs come with events, sweeps, or when a page is opened.
    """
    unread = RunRequest.objects.filter(environment=environment_pk, state=State.LAUNCHED, run=None)
    mirror.refresh_state(
        Environment.objects.select_related("server").get(pk=environment_pk),
        [pk for pk in unread.values_list("flow_run_id", flat=True) if pk],
    )


def refresh(pk: int) -> None:
    run = Run.objects.select_related("environment__server").get(pk=pk)
    mirror.refresh(run.environment, [run.prefect_id])


def check(server_pk: int) -> None:
    health.check(Server.objects.get(pk=server_pk))


def test_connection(pk: int) -> None:
    """Make a test of an address that is not saved; one that was deleted meanwhile is not made."""
    if test := ConnectionTest.objects.filter(pk=pk).first():
        connection_checks.carry_out(test)


def sync(server_pk: int) -> None:
    """Check the health of one server, sync its deployments and runs, and postpone runs that must not start.

    They are synced into the active environments on the server; without one there is nothing to do.
    """
    active = Environment.objects.select_related("server").filter(server=server_pk, is_active=True)
    environments = list(active.order_by("pk"))
    if not environments:
        return  # disabled since this was queued
    environment = environments[0]
    try:
        # Deployments before runs: a run is linked to its deployment, and its secrets are masked by the schema.
        if health.check(environment.server).state == "up":
            catalog_sync.keep_up(
                environment, on_change=definitions.record_changes, on_move=deployment_moves.record_moves
            )
            step = mirror.sync_step(environment)
            # After the deployments that they name; a list that is refused holds nothing else up.
            automations.sync(environment)
            for each in environments:
                limit_catalog.sync(each)
                bypasses.report(each)
            if step.progress == mirror.Progress.MORE:
                # A first reading goes on in further tasks: a task may run for a minute.
                queue.enqueue("runs.tasks.sync", server_pk)
            for each in environments:
                dispatch.postpone(each)
                dispatch.put_back_stalled(each)
    except SameServer as conflict:
        health.record_failed_sync(environment.server, str(conflict))
        configuration.disable_same_server(conflict.environments, conflict.others)
    except (PrefectError, DecryptionError) as error:
        log.warning("%s: %s", environment, error)  # shown to people through the health row


def sync_all() -> None:
    """Queue a sync of each server in use, so that a slow one does not delay the others."""
    for server_pk in Environment.objects.filter(is_active=True).order_by().values_list("server", flat=True).distinct():
        queue.enqueue("runs.tasks.sync", server_pk)


def requeue_due() -> None:
    """Queue all due work again: retries, expired leases, lost tasks.

    It runs every few seconds; what still waits in the queue is not queued again.
    """
    # Null is due at once: it is a row whose task was lost before its first attempt.
    now = timezone.now()
    due = Q(next_attempt_at=None) | Q(next_attempt_at__lte=now)
    table = {
        # An answer that is unknown is asked for singly, also of a backfill.
        "runs.tasks.launch": RunRequest.objects.filter(state=State.LAUNCHING),
        "runs.tasks.carry_out": Action.objects.filter(state__in=OPEN),
    }
    for task, rows in table.items():
        for pk in rows.filter(due).values_list("pk", flat=True):
            queue.enqueue(task, pk)
    for lane in notifications.due_lanes():
        queue.enqueue("runs.tasks.send_deliveries", lane)
    changes.queue_launches(RunRequest.objects.filter(due, state=State.APPROVED).select_related("change"))
    for pk in RunRequest.objects.filter(check_definition_at__lte=now).values_list("pk", flat=True):
        queue.enqueue("runs.tasks.check_definition", pk)
    if rule_firing.due().exists():
        queue.enqueue("runs.tasks.fire_rules")
    if failures.has_due():
        queue.enqueue("runs.tasks.group_failures")


def advance_changes() -> None:
    """Release what held run requests may start now, and close the change requests that are done."""
    for change in changes.to_advance():
        changes.advance(change)


def run_schedules() -> None:
    """Request the runs of the schedules that are due."""
    schedule_clock.tick()


def check_schedules() -> None:
    """Pause the schedules whose runs would be refused, and notify the owners of those that end soon."""
    schedule_clock.inspect()
    schedule_copies.inspect()
    end_reminders.remind()


def check_owners() -> None:
    """Note which hooks, event rules and chains could not run what they run."""
    owner_checks.check()


def advance_chain(pk: int) -> None:
    """Start the steps of a chain that are next, or end it."""
    chain_steps.advance(pk)


def advance_chains() -> None:
    """Queue every chain that is under way: the event that should have moved one on can be lost."""
    for pk in chain_steps.open_chains():
        queue.enqueue("runs.tasks.advance_chain", pk)


def pause_frozen_schedules() -> None:
    freezes.pause_frozen_schedules()


def escalate() -> None:
    """Notify the receivers of rules of requests that nobody decided in time."""
    notifications.escalate()


def expire() -> None:
    """Close the change requests that were not approved in time."""
    for change in ChangeRequest.objects.filter(state=ChangeRequest.State.WAITING, expires_at__lte=timezone.now()):
        try:
            changes.expire(change)
        except Refused as refusal:
            # Approved or withdrawn since the query; not an error.
            log.info("%s", refusal)

"""What qcluster calls: each loads one row and calls one verb."""

from __future__ import annotations

import logging

from django.db.models import Q
from django.utils import timezone

from flows import catalogue, health
from flows.access import Refused
from flows.models import Environment
from flows.records import PrefectError
from flows.vault import Sealed
from runs import dispatch, lifecycle, mirror, notices, policies, queue
from runs.audit import exporting, parts
from runs.models import Cancellation, Export, Notice, Run, RunRequest, Switch
from runs.models.request import State

log = logging.getLogger(__name__)


def launch(pk: int) -> None:
    dispatch.launch(RunRequest.objects.get(pk=pk))


def stop(pk: int) -> None:
    dispatch.stop(Cancellation.objects.get(pk=pk))


def switch(pk: int) -> None:
    dispatch.switch(Switch.objects.get(pk=pk))


def mail(pk: int) -> None:
    notices.send(Notice.objects.select_related("person").get(pk=pk))


def export_audit(pk: int) -> None:
    exporting.make(Export.objects.get(pk=pk))


def keep_audit() -> None:
    """Give the last part of the trail an end when it is time, and throw away old exports."""
    parts.cut()
    exporting.forget()


def follow_up(pk: int) -> None:
    """Read the run a request was launched as, without waiting for an event."""
    run_request = RunRequest.objects.select_related("environment").get(pk=pk)
    if run_request.flow_run_id:
        mirror.refresh(run_request.environment, [run_request.flow_run_id])


def refresh(pk: int) -> None:
    run = Run.objects.select_related("environment").get(pk=pk)
    mirror.refresh(run.environment, [run.prefect_id])


def check(pk: int) -> None:
    health.check(Environment.objects.get(pk=pk))


def sync(pk: int) -> None:
    """Health, catalogue and runs of one environment; then what would start there although it may not."""
    environment = Environment.objects.get(pk=pk)
    try:
        if health.check(environment).state == "up":
            catalogue.sync(environment)
            mirror.sweep(environment)
            dispatch.postpone(environment)
    except (PrefectError, Sealed) as error:
        log.warning("%s: %s", environment, error)  # the health row says it to the people


def sync_all() -> None:
    for pk in Environment.objects.filter(is_active=True).values_list("pk", flat=True):
        queue.later("runs.tasks.sync", pk)


def catch_up() -> None:
    """Queue again whatever is due: retries, claims of workers that died, tasks that were lost."""
    now = timezone.now()
    due = Q(next_attempt_at=None) | Q(next_attempt_at__lte=now)
    table = {
        "runs.tasks.launch": RunRequest.objects.filter(state__in=[State.APPROVED, State.LAUNCHING]),
        "runs.tasks.stop": Cancellation.objects.filter(state__in=Cancellation.OPEN),
        "runs.tasks.switch": Switch.objects.filter(state=Switch.State.WANTED),
        "runs.tasks.mail": Notice.objects.filter(state=Notice.State.WANTED),
    }
    for task, rows in table.items():
        for pk in rows.filter(due).values_list("pk", flat=True):
            queue.later(task, pk)


def keep_frozen() -> None:
    policies.keep_frozen()


def expire() -> None:
    for run_request in RunRequest.objects.filter(state=State.WAITING, expires_at__lte=timezone.now()):
        try:
            lifecycle.expire(run_request)
        except Refused as refusal:
            log.info("%s", refusal)

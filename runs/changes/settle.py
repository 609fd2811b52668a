"""Update requests and cancellations from the state of their run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from django.db import connection
from django.db.models import Exists, OuterRef, Q, Subquery
from django.utils import timezone

from flows.models import Environment
from runs import actions, audit, events, queue
from runs.actors import Actor
from runs.changes.states import LEGAL_FROM, Move, move, move_each
from runs.models import Action, Run, RunEvent, RunRequest
from runs.models.action import CANCELS, OPEN
from runs.models.request import State

LOST = (
    "The run was deleted in Prefect before it ended, so its result is unknown. Check what it has done before you run "
    "it again."
)
# Terminal state type of a run -> state of its request; any other run state means launched.
SETTLES: dict[str, State] = {
    "COMPLETED": State.COMPLETED,
    "FAILED": State.FAILED,
    "CRASHED": State.FAILED,
    "CANCELLED": State.CANCELLED,
}
# In one statement: thousands of runs can change at once.
LINK = """
    UPDATE runs_runrequest SET run_id = found.run FROM unnest(%s::bigint[], %s::bigint[]) AS found (pk, run)
    WHERE id = found.pk
"""


def settle(runs: Sequence[Run], started: Sequence[RunRequest] = ()) -> None:
    """Update the requests and cancellations of these runs. Called by `runs.mirror`.

    `started` are the requests whose runs have left Scheduled or begun to run since the reading before.

    Rows first, audit entries last: a transaction that holds the lock on the end of the audit chain must not wait for a
    row lock, or two transactions that take them in opposite order deadlock.
    """
    pairs = link_requests(runs)
    check_definitions(started)
    acts = settle_requests(pairs)
    acts += actions.settle_ended([run for run in runs if run.is_terminal])
    audit.record_many(acts)


def link_requests(runs: Sequence[Run]) -> list[tuple[RunRequest, Run]]:
    """Lock the requests of these runs in the order of their keys, and link those that learned the run's id first."""
    # Two keys: the run's id in Prefect is unique in an environment only.
    by_id = {(run.environment_id, run.prefect_id): run for run in runs}
    by_pk = {run.pk: run for run in runs}
    found = (
        RunRequest.objects.select_for_update(of=("self",))
        .filter(Q(run__in=by_pk) | Q(run=None, flow_run_id__in=[run.prefect_id for run in runs]))
        .select_related("change", "spec")
        .order_by("pk")
    )
    pairs, unlinked = [], {}
    for each in found:
        run = by_pk.get(each.run_id or 0) or by_id.get((each.environment_id, each.flow_run_id))  # type: ignore[arg-type]  # None is never a key
        if run is None:
            continue
        if each.run_id is None:
            unlinked[each.pk] = run.pk
            each.run = run
        pairs.append((each, run))
    if unlinked:
        with connection.cursor() as cursor:
            cursor.execute(LINK, [list(unlinked), list(unlinked.values())])
    return pairs


def settle_requests(pairs: Sequence[tuple[RunRequest, Run]]) -> list[audit.Act]:
    """Move requests, whose rows are locked, to what their runs show; return the acts for the audit trail.

    Those are of runs that reappear after they were taken for deleted.
    """
    # Not every reading is a move: a run that is still running leaves its request at launched.
    moves = [
        Move(run_request, to, run.state_message[:2000])
        for run_request, run in pairs
        if run_request.state in LEGAL_FROM[to := SETTLES.get(run.state_type, State.LAUNCHED)]
    ]
    lost = [each for each in moves if each.run_request.state == State.LOST]
    move_each(moves)
    # What is over makes room for the next run of its change request.
    if any(each.run_request.is_over and each.run_request.change.pacing for each in moves):
        queue.enqueue("runs.tasks.advance_changes")
    return [
        audit.Act(
            "request.found",
            each.run_request,
            Actor.system("Prefect"),
            before={"state": State.LOST},
            after={"state": each.to},
        )
        for each in lost
    ]


def check_definitions(started: Sequence[RunRequest]) -> None:
    """Have the definitions of approved requests compared again: the worker reads the deployment when the run starts."""
    pks = [run_request.pk for run_request in started if run_request.change.needs_approval]
    RunRequest.objects.filter(pk__in=pks).update(check_definition_at=timezone.now())
    for pk in pks:
        queue.enqueue("runs.tasks.check_definition", pk)


def settle_deleted(environment: Environment, flow_run_ids: Collection[UUID]) -> None:
    """End the requests and cancellations of runs that were deleted in Prefect. Called by `runs.mirror`.

    A run that had ended has settled its request before, which keeps that state.
    """
    launched = RunRequest.objects.filter(
        environment=environment, flow_run_id__in=flow_run_ids, state=State.LAUNCHED
    ).select_related("environment")
    acts = [lose(run_request) for run_request in launched]
    cancelled = Action.objects.filter(run=OuterRef("pk"), kind__in=CANCELS, state__in=OPEN)
    runs = Run.objects.filter(Exists(cancelled), environment=environment, prefect_id__in=flow_run_ids)
    acts += [act for run in runs.select_related("environment") for act in actions.settle_deleted(run)]
    audit.record_many(acts)


def lose(run_request: RunRequest) -> audit.Act:
    """Move one request to lost and have its requester notified; return the act for the audit trail."""
    move(run_request, to=State.LOST, message=LOST)
    events.record(RunEvent.Kind.REQUEST_LOST, run_request=run_request, data={"message": LOST})
    flow_run_id = str(run_request.flow_run_id)
    return audit.Act(
        "request.lost",
        run_request,
        Actor.system("Prefect"),
        before={"state": State.LAUNCHED},
        after={"state": State.LOST, "flow_run_id": flow_run_id},
    )


def settle_swept(run_pks: Collection[int]) -> None:
    """Copy the results of runs to their requests, before `runs.mirror` deletes the runs.

    What was done to them goes with them: it is in the audit trail.
    """
    run = Run.objects.filter(pk=OuterRef("run"))
    RunRequest.objects.filter(run__in=run_pks).update(
        flow_run_name=Subquery(run.values("name")),
        run_state=Subquery(run.values("state_name")),
        run_started_at=Subquery(run.values("started_at")),
        run_ended_at=Subquery(run.values("ended_at")),
        run=None,
    )
    Action.objects.filter(run__in=run_pks).delete()

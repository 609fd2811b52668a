"""The state of a change request in one word: of a backfill or a chain how far it is, of all others what was decided.

For the database a backfill is “closed” when nothing more of it can start; people want to know whether it still runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Case, CharField, Exists, F, OuterRef, Q, QuerySet, Value, When

from runs.models import ChangeRequest, RunRequest
from runs.models.change_request import COLOURS
from runs.models.request import FAILURES, State

ChangeState, Kind = ChangeRequest.State, ChangeRequest.Kind
# What goes on after its approval, as far as its runs are.
PACED = (Kind.BACKFILL, Kind.CHAIN)
# Key of a phase -> its label and colour, in the order of a filter.
PHASES: dict[str, tuple[str, str]] = {
    "waiting": ("Waiting for approval", COLOURS["waiting"]),
    "approved": ("Approved", COLOURS["approved"]),
    "running": ("Running", "blue"),
    "gated": ("Waits at a gate", "amber"),
    "paused": ("Paused", "amber"),
    "stopped": ("Stopped", "red"),
    "finished": ("Finished", "green"),
    "failed": ("Finished with failures", "red"),
    "rejected": ("Rejected", COLOURS["rejected"]),
    "withdrawn": ("Withdrawn", COLOURS["withdrawn"]),
    "expired": ("Expired", COLOURS["expired"]),
    "closed": ("Closed", COLOURS["closed"]),
}
# What is typed into a search -> the key of a phase.
WORDS = {word.casefold(): key for key, (label, _) in PHASES.items() for word in (key, label)}
LEFT = (State.HELD, State.APPROVED, State.LAUNCHING, State.LAUNCHED)
RELEASED = (ChangeState.APPROVED, ChangeState.CLOSED)


@dataclass(frozen=True, slots=True)
class Phase:
    """The phase of one change request, with its badge."""

    key: str
    state_label: str
    state_colour: str


def phase_of(change: ChangeRequest, states: Iterable[str] | None = None) -> Phase:
    """Return the phase: that of `with_phases`, or from the states of its run requests, which are read if not given."""
    key = getattr(change, "phase", "") or key_of(change, states)
    # Of a change of rules and a retry “closed” has a word of its own.
    label = change.state_label if key == change.state else PHASES[key][0]
    return Phase(key, label, PHASES[key][1])


def key_of(change: ChangeRequest, states: Iterable[str] | None) -> str:
    if change.kind not in PACED or change.state not in RELEASED:
        return change.state
    if change.state == ChangeState.APPROVED and change.is_held_back:
        return change.progress
    if change.kind == Kind.CHAIN and change.state == ChangeState.CLOSED:
        # A step that failed can be what another waited for.
        return "failed" if change.is_held_back else "finished"
    found = {*(change.run_requests.order_by().values_list("state", flat=True) if states is None else states)}
    if change.kind == Kind.CHAIN:
        return "gated" if State.HELD in found else "running"
    if found & {*LEFT}:
        return "running"
    return "failed" if found & {*FAILURES} else "finished"


def with_phases(changes: QuerySet[ChangeRequest]) -> QuerySet[ChangeRequest]:
    """Return the change requests with `phase`, the key of their phase, as `key_of` returns it."""
    is_held_back = ~Q(progress=ChangeRequest.Progress.RUNNING)
    held_back = Q(kind__in=PACED, state=ChangeState.APPROVED) & is_held_back
    run_requests = RunRequest.objects.filter(change=OuterRef("pk")).order_by()
    chain = Q(kind=Kind.CHAIN)
    released = Q(kind=Kind.BACKFILL, state__in=RELEASED)
    return changes.annotate(
        phase=Case(
            When(held_back, then=F("progress")),
            When(chain & Q(state=ChangeState.CLOSED) & is_held_back, then=Value("failed")),
            When(chain & Q(state=ChangeState.CLOSED), then=Value("finished")),
            When(
                chain & Q(state=ChangeState.APPROVED) & Q(Exists(run_requests.filter(state=State.HELD))),
                then=Value("gated"),
            ),
            When(chain & Q(state=ChangeState.APPROVED), then=Value("running")),
            When(released & Q(Exists(run_requests.filter(state__in=LEFT))), then=Value("running")),
            When(released & Q(Exists(run_requests.filter(state__in=FAILURES))), then=Value("failed")),
            When(released, then=Value("finished")),
            default=F("state"),
            output_field=CharField(),
        )
    )

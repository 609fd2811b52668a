"""The activity of a run: its states, who asked for it and who approved, and what was done about it, as one timeline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from portal.admin.requests.activity import decided
from portal.ui import times
from runs.models import Action, RunRequest, StateChange
from runs.models.action import CANCELS, OPEN


@dataclass(frozen=True, slots=True)
class Entry:
    """One line; `lasted` is how long a state lasted, if another followed."""

    key: str
    at: datetime
    what: str
    tone: str
    by: str = ""
    note: str = ""
    lasted: str = ""


def entries(
    changes: Sequence[StateChange], actions: Iterable[Action], run_request: RunRequest | None, *, has_messages: bool
) -> list[Entry]:
    """List the activity, newest first. Messages of states quote the log: `has_messages` says whether they are shown."""
    found = [*states(changes, has_messages=has_messages), *(entry for each in actions for entry in of_action(each))]
    if run_request:
        found += of_request(run_request)
    # They come from several tables, each in its own order. Equal times keep the order above.
    return sorted(found, key=lambda each: each.at, reverse=True)


def states(changes: Sequence[StateChange], *, has_messages: bool) -> list[Entry]:
    lasted = [times.duration((later.at - one.at).total_seconds()) for one, later in pairwise(changes)]
    return [
        Entry(
            f"state-{each.pk}",
            each.at,
            each.state_label,
            each.state_colour,
            note=each.message if has_messages else "",
            lasted=time,
        )
        for each, time in zip(changes, [*lasted, ""], strict=False)
    ][::-1]


def of_action(action: Action) -> list[Entry]:
    """Return when an action was requested and, if it is settled, how it ended."""
    kind = action.get_kind_display()
    by = f"{action.requested_by_name} (automatic)" if action.is_automatic else action.requested_by_name
    what = "Cancellation requested" if action.kind in CANCELS else f"{kind} requested"
    found = [Entry(f"action-{action.pk}", action.requested_at, what, "amber", by, action.reason)]
    if action.settled_at and action.state not in OPEN:
        ended = f"{kind}: {action.state_label}"
        found.append(Entry(f"settled-{action.pk}", action.settled_at, ended, action.state_colour, note=action.message))
    return found


def of_request(run_request: RunRequest) -> list[Entry]:
    change = run_request.change
    found = [
        Entry(
            f"request-{run_request.pk}", run_request.requested_at, "Requested", "blue", change.requester, change.reason
        )
    ]
    for each in change.approvals.all():
        moment = decided(each, run_request)
        found.append(Entry(f"approval-{each.pk}", moment.at, moment.what, moment.tone, moment.by, moment.note))
    if run_request.launched_at:
        found.append(Entry(f"sent-{run_request.pk}", run_request.launched_at, "Sent to Prefect", "blue"))
    return found

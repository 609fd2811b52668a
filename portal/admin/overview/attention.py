"""What needs attention: failures grouped by cause, and runs that are stalled or late."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.urls import reverse

from flows.models import Environment
from flows.wording import deployment_name, listed
from portal.ui.run_links import Count, runs_url
from runs import failure_causes
from runs.access.decisions import Permissions
from runs.failures.fingerprint import says_nothing
from runs.models import FailedRun, FailureGroup, Run, Stall
from runs.requests import visibility

# Lines of the panel; more would be a list.
MOST_CAUSES = 8
MOST_NAMES = 3
# What differs between two failures of one cause: numbers, keys and addresses.
VARYING = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b0x[0-9a-f]+\b|\d+", re.IGNORECASE)


@dataclass(slots=True)
class Cause:
    """Failed runs in one environment for one reason; `newest` is the last one of them, `what` the deployments.

    `group` is their failure group, None for runs that are not grouped yet, or that failed before they could be.
    """

    newest: Run
    reason: str
    group: FailureGroup | None = None
    keys: list[int] = field(default_factory=list)
    what: dict[str, None] = field(default_factory=dict)

    @property
    def names(self) -> str:
        return listed([deployment_name(name) for name in self.what], MOST_NAMES)

    @property
    def count(self) -> Count:
        return Count("failed", len(self.keys), runs_url(runs=",".join(map(str, self.keys))))

    @property
    def url(self) -> str:
        return reverse("admin:runs_run_change", args=[self.newest.pk])


@dataclass(frozen=True, slots=True)
class StalledRuns:
    """The runs of one environment that are stalled in one way, since `since` at the longest."""

    environment: Environment
    kind: Stall
    number: int
    since: datetime
    names: str

    @property
    def word(self) -> str:
        return "Late" if self.kind == Stall.LATE else "Stalled"

    @property
    def tone(self) -> str:
        return "amber" if self.kind == Stall.LATE else "red"

    @property
    def label(self) -> str:
        return "No worker has picked it up" if self.kind == Stall.LATE else str(self.kind.label)

    @property
    def url(self) -> str:
        return runs_url(stalled=self.kind.value, environment=self.environment.slug)

    @property
    def count(self) -> Count:
        return Count(f"stalled {self.kind.value}", self.number, self.url)


def causes(failed: Iterable[Any], permissions: Permissions) -> list[Cause]:
    """Group failed runs of `current_runs`, the newest first, by their causes: the most frequent first.

    Muted groups are left out.

    Runs that are in no failure group are grouped by the message of their state. Readers without `see logs` see no
    messages, which quote what the run printed: those failures are grouped by deployment alone.
    """
    found: dict[tuple[int | str, ...], Cause] = {}
    for run in failed:
        group = group_of(run)
        if group and group.shown_state == FailureGroup.State.MUTED:
            continue
        reason = failure_causes.explain_failure(visibility.muted(run, permissions))
        is_hidden = run.state_message == visibility.HIDDEN
        if group and not is_hidden and says_nothing(run.state_message):
            # The task or the log said what failed.
            reason = failure_causes.shorten(group.title or reason)
        key = (group.pk,) if group else (run.environment_id, run.what if is_hidden else "", VARYING.sub("#", reason))
        cause = found.setdefault(key, Cause(run, reason, group if run.sees_group else None))
        cause.keys.append(run.pk)
        cause.what[run.what] = None
    # Sorted is stable: of equally frequent ones the newest comes first.
    return sorted(found.values(), key=lambda cause: -len(cause.keys))


def group_of(run: Run) -> FailureGroup | None:
    """Return the group of a failed run that was selected with it."""
    failure: FailedRun | None = getattr(run, "failure", None)
    return failure.group if failure else None


def count_muted(failed: Iterable[Run]) -> int:
    """Return how many of the failed runs are in muted groups."""
    return sum(1 for run in failed if (group := group_of(run)) and group.shown_state == FailureGroup.State.MUTED)


def stalled_runs(stalled: Iterable[Mapping[str, Any]], environments: Mapping[int, Environment]) -> list[StalledRuns]:
    """Return a row for each environment and kind of stall, in the order of the kinds, of those of `current_runs`."""
    found = [
        StalledRuns(
            # Of a run without a deployment the environment can be one whose page the reader does not see.
            environments.get(row["place"]) or Environment(pk=row["place"], slug=row["slug"]),
            Stall(row["kind"]),
            row["number"],
            datetime.fromisoformat(row["since"]),
            listed([deployment_name(name) or "no deployment" for name in row["names"]], MOST_NAMES),
        )
        for row in stalled
    ]
    order = list(Stall)
    return sorted(found, key=lambda row: (order.index(row.kind), row.environment.slug))

"""Compares the definition that a request would run with the one last approved there, and with the one deployed now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flows import definition
from flows.parameters import MASK
from portal.ui.diff import diff, display, leaves
from runs.changes import queries
from runs.models import RunRequest
from runs.models.request import State

# Only ever a hash: that it changed is all there is to show.
HASHES = frozenset({"base_job_template", "schema"})


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One value of a definition before and after; both are empty where the value is not shown. `tone` as in `diff`."""

    path: str
    label: str
    before: str
    after: str
    tone: str


@dataclass(frozen=True, slots=True)
class MovingReference:
    kind: str
    label: str
    meaning: str


@dataclass(frozen=True, slots=True)
class DefinitionReview:
    """What an approver has to know about a definition.

    `last` is the request last approved there, `changes` are those since it; `later` those in Prefect since the request;
    `moved` those that were found when the run started.
    """

    last: RunRequest | None
    changes: list[FieldChange]
    later: list[FieldChange]
    moved: list[FieldChange]
    has_moved: bool
    moving: list[MovingReference]
    facts: list[tuple[str, str]] = field(default_factory=list)

    @property
    def changed_fields(self) -> str:
        """The labels of what changed since the last approval, each once."""
        return ", ".join(dict.fromkeys(each.label.partition(":")[0] for each in self.changes))


def review(run_request: RunRequest) -> DefinitionReview | None:
    """Return the review of an approved request, or one that waits for approval; None where none is needed."""
    if not run_request.change.needs_approval:
        return None
    last = queries.last_approved(run_request)
    frozen, deployed = run_request.spec.definition, run_request.deployment.definition
    is_open = run_request.state in (State.HELD, State.APPROVED)
    moved = run_request.moved_definition
    return DefinitionReview(
        last=last,
        changes=changes(last.spec.definition, frozen) if last else [],
        later=changes(frozen, deployed) if is_open else [],
        # A deployment that was deleted has no definition to compare with.
        moved=changes(frozen, moved) if "format" in moved else [],
        has_moved=bool(moved),
        moving=[
            MovingReference(each["kind"], definition.moving_label(each), definition.moving_meaning(each))
            for each in frozen.get("moving", [])
        ],
        facts=facts(frozen),
    )


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[FieldChange]:
    """Return the values that differ, without those of job variables and defaults."""
    was, is_now = definition.difference(before, after)
    return [
        FieldChange(each.path, label_of(each.path), *display_values(each.path, each.before, each.after), each.tone)
        for each in diff(was, is_now)
    ]


def display_values(path: str, before: str, after: str) -> tuple[str, str]:
    """Return both values for display; empty if they are not shown."""
    if path in HASHES or definition.is_masked(before) or definition.is_masked(after):
        return "", ""
    before, after = ("" if text in ("[]", "{}") else definition.HASHED.sub(MASK, text) for text in (before, after))
    return before, after


def label_of(path: str) -> str:
    """Return "job variables: env.A" for "job_variables.env.A"."""
    name, _, rest = path.partition(".")
    label = definition.LABELS.get(name, name)
    return f"{label}: {rest}" if rest else label


def facts(frozen: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the definition as names and texts; of job variables and defaults only the names."""
    found = []
    for name, label in definition.LABELS.items():
        value = frozen.get(name)
        if name in HASHES or value in ("", None, [], {}):
            continue
        if isinstance(value, Mapping):
            text = f"{', '.join(path for path, _ in leaves(value))} (values not shown)"
        else:
            text = definition.HASHED.sub(MASK, "yes" if value is True else "no" if value is False else display(value))
        found.append((label.capitalize(), text))
    return found

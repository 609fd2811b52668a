"""Context of the page of a run of a chain: its graph and steps as they are, and what may be done about it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils.safestring import SafeString

from flows import parameters as schemas
from flows.models import Deployment
from portal.admin.changes import backfill_context
from portal.admin.requests.allowed_actions import Action
from portal.ui import chain_labels, freshness
from portal.ui.profile_settings import ProfileSettings, settings_of
from portal.ui.progress_bar import Part, progress_bar
from portal.ui.rule_labels import Badge
from portal.ui.text import json_text
from runs import changes
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.automation.chain_definition import Step
from runs.automation.chain_graph import Outcome
from runs.automation.chain_items import Items
from runs.automation.chain_progress import ChainProgress, read_progress
from runs.models import ChangeRequest, RunRequest, RunSpec, Verb
from runs.models.request import State
from runs.phases import phase_of

ChangeState = ChangeRequest.State


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One run of a step that is a backfill; `cells` are its values by name, none without permission to view them."""

    number: int
    cells: list[tuple[str, str]]
    run_request: RunRequest | None
    attempt: int

    @property
    def state_label(self) -> str:
        return self.run_request.state_row.state_label if self.run_request else "Not started"

    @property
    def state_colour(self) -> str:
        return self.run_request.state_row.state_colour if self.run_request else "grey"


@dataclass(frozen=True, slots=True)
class ItemTable:
    """The runs of a step that is a backfill, with how many of them are in which state."""

    names: list[str]
    rows: list[ItemRow]
    parts: list[Part]
    bar: SafeString


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step as the table shows it; `waits_for` is what a person must decide, `may_decide` whether the reader can."""

    step: Step
    spec: RunSpec
    run_request: RunRequest | None
    attempt: int
    badge: Badge
    after: list[str]
    parameters: list[tuple[str, str]]
    marks: list[str]
    profile: ProfileSettings | None
    message: str
    waits_for: str
    may_decide: bool
    at: datetime | None
    items: ItemTable | None

    @property
    def state_label(self) -> str:
        return self.badge.state_label

    @property
    def state_colour(self) -> str:
        return self.badge.state_colour


def context(change: ChangeRequest, by: Actor, permissions: Permissions, *, may_decide: bool) -> dict[str, Any]:
    """Build the template context; `may_decide` also lets an approver see what they approve."""
    progress = read_progress(change)
    specs = list(progress.specs.values())
    is_own = by.is_same_person_as(change.requested_by_id)
    sees = may_decide or is_own or all(permissions.decide(Verb.SEE_INPUTS, spec.deployment) for spec in specs)
    is_over = change.state in ChangeRequest.OVER
    badges = {
        key: chain_labels.step_badge(outcome, progress.latest.get(key), progress.items.get(key), is_over=is_over)
        for key, outcome in progress.outcomes.items()
    }
    shown = phase_of(change, progress.states)
    chain, version = progress.chain_run.version.chain, progress.chain_run.version
    steps = progress.definition.steps
    return {
        "chain_run": progress.chain_run,
        "chain": chain,
        "version": version,
        "badge": shown,
        "tone": shown.state_colour,
        "freshness": freshness.freshness_of([chain.environment], "runs"),
        "graph": chain_labels.graph(f"Steps of {chain.name}", progress.definition, badges, links(progress)),
        "rows": [row(progress, step, badges[step.key], by, permissions, sees=sees) for step in steps],
        "sees_inputs": sees,
        "inputs": [(name, json_text(value)) for name, value in progress.chain_run.inputs.items()] if sees else [],
        "done": sum(outcome == Outcome.COMPLETED for outcome in progress.outcomes.values()),
        "total": len(progress.outcomes),
        **buttons(progress, by, permissions),
    }


def title_of(change: ChangeRequest) -> str:
    """Return the chain and where it runs; a list reads the name in its query."""
    name = getattr(change, "chain_name", None) or change.chain_run.version.chain.name
    return f"Chain {name} in {change.environment_name}"


def links(progress: ChainProgress) -> dict[str, str]:
    return {
        key: reverse("admin:runs_runrequest_change", args=[run_request.pk])
        for key, run_request in progress.latest.items()
    }


def row(
    progress: ChainProgress, step: Step, state: Badge, by: Actor, permissions: Permissions, *, sees: bool
) -> StepRow:
    spec, run_request = progress.specs[step.key], progress.latest.get(step.key)
    waits_for = (
        changes.why_waiting(run_request) if run_request and progress.change.state == ChangeState.APPROVED else ""
    )
    # Messages quote what runs print.
    sees_message = run_request is not None and (
        run_request.run is None or permissions.decide(Verb.SEE_LOGS, spec.deployment).allowed
    )
    return StepRow(
        step,
        spec,
        run_request,
        changes.attempt_of(run_request) if run_request else 0,
        state,
        [chain_labels.edge_sentence(edge) for edge in step.after],
        values(spec, run_request, step) if sees else [],
        chain_labels.marks(step),
        settings_of(spec.profile),
        run_request.message if run_request and sees_message else "",
        waits_for,
        bool(waits_for) and may_decide_about(progress.change, spec.deployment, by, permissions),
        (run_request.run_ended_at or (run_request.run.ended_at if run_request.run else None) or run_request.launched_at)
        if run_request
        else None,
        item_table(progress, progress.items[step.key], sees=sees) if step.key in progress.items else None,
    )


def item_table(progress: ChainProgress, items: Items, *, sees: bool) -> ItemTable:
    """Return the runs of a step that is a backfill, in the order in which they start."""
    rows = [
        ItemRow(
            number,
            [(name, json_text(value)) for name, value in values.items()] if sees else [],
            found := items.latest.get(number),
            changes.attempt_of(found) if found else 0,
        )
        for number, values in enumerate(items.values, 1)
    ]
    unstarted = State.WITHDRAWN if progress.change.state in ChangeRequest.OVER else State.HELD
    counts = Counter(each.run_request.state if each.run_request else unstarted for each in rows)
    parts = backfill_context.parts(counts)
    return ItemTable(items.over.names if sees else [], rows, parts, progress_bar(parts))


def may_decide_about(change: ChangeRequest, deployment: Deployment, by: Actor, permissions: Permissions) -> bool:
    """Return whether the buttons are shown; the service decides, with the values."""
    if not change.needs_approval:
        return permissions.decide(Verb.TRIGGER, deployment).allowed
    is_involved = by.user.pk in (change.requested_by_id, change.on_behalf_of_id)
    return not is_involved and permissions.decide(Verb.APPROVE, deployment).allowed


def values(spec: RunSpec, run_request: RunRequest | None, step: Step) -> list[tuple[str, str]]:
    """Return the parameters: fixed ones as they are, of the others where they come from until they are there."""
    masked = schemas.mask(spec.deployment.parameter_schema, spec.parameters)
    found = [(name, json_text(value)) for name, value in masked.items()]
    if spec.sealed_parameters:
        found.append(("secret values", schemas.MASK))
    brought = run_request.mapped_values if run_request else {}
    labels = dict(chain_labels.sources(step))
    for name, schema in spec.mapped.items():
        if step.over and name in step.over.names:
            # The table of its runs has the values.
            found.append((name, labels[name]))
            continue
        bounds = f" within {json_text(schema)}" if schema else ""
        text = json_text(brought[name]) if name in brought else labels[name].partition(", within")[0]
        found.append((name, f"{text}{bounds}"))
    return found


def buttons(progress: ChainProgress, by: Actor, permissions: Permissions) -> dict[str, Action]:
    """Return which buttons are shown."""
    change = progress.change
    is_own = by.is_same_person_as(change.requested_by_id)
    is_going = change.state == ChangeState.APPROVED
    verb = Verb.TRIGGER if is_own else Verb.RERUN
    failed = [progress.specs[key].deployment for key in progress.failed]
    may_cancel = is_own or all(
        permissions.decide(Verb.CANCEL, spec.deployment).allowed for spec in progress.specs.values()
    )
    if change.progress == ChangeRequest.Progress.PAUSED:
        may_resume = may_cancel
    else:
        may_resume = bool(failed) and all(permissions.decide(verb, each).allowed for each in failed)
    return {
        "resume": Action(is_going and may_resume),
        "pause": Action(is_going and may_cancel and not change.is_held_back),
        "cancel_rest": Action(is_going and may_cancel),
    }

"""Labels of chains: where steps are, what they wait for, and where their parameters have their values from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from flows.wording import deployment_name, plural
from portal.ui.rule_labels import Badge
from portal.ui.step_graph import Arrow, Box, step_graph
from portal.ui.text import json_text
from runs.automation.chain_definition import Definition, Step
from runs.automation.chain_graph import Edge, Outcome, When, layers
from runs.automation.chain_items import Items
from runs.models import Chain, RunRequest
from runs.models.request import State

# Outcome of a step that has no attempt -> its label and colour.
UNSTARTED: dict[str, tuple[str, str]] = {
    Outcome.WAITING: ("Waiting", "grey"),
    Outcome.READY: ("Next", "grey"),
    Outcome.SKIPPED: ("Skipped", "grey"),
}
NOT_STARTED = Badge("Not started", "grey")
AT_GATE = Badge("Waits at its gate", "amber")
LONGEST_MEMBER = 60


def state_badge(chain: Chain) -> Badge:
    """Return the state of a chain; select its owner with it."""
    if not chain.is_enabled:
        return Badge("Disabled", "grey")
    if chain.valid_until <= timezone.now():
        return Badge("Ended", "grey")
    if not chain.owner.is_active:
        return Badge("Owner disabled", "grey")
    if chain.obstacle:
        return Badge("Cannot run", "amber")
    return Badge("Enabled", "green")


# Outcome of a step that is a backfill -> its label and colour, before how many of its runs completed.
OF_ITEMS: dict[str, tuple[str, str]] = {
    Outcome.RUNNING: ("Running", "blue"),
    Outcome.COMPLETED: ("Completed", "green"),
    Outcome.FAILED: ("Failed", "red"),
}


def step_badge(outcome: str, run_request: RunRequest | None, items: Items | None = None, *, is_over: bool) -> Badge:
    """Return the state of a step: that of its run as soon as there is one, of several how many completed."""
    if run_request and items:
        label, colour = OF_ITEMS[outcome]
        if run_request.state == State.HELD:
            label, colour = AT_GATE.state_label, AT_GATE.state_colour
        return Badge(f"{label}, {items.completed} of {len(items.values)}", colour)
    if run_request is None:
        return NOT_STARTED if is_over and outcome != Outcome.SKIPPED else Badge(*UNSTARTED[outcome])
    if run_request.state == State.HELD:
        return AT_GATE
    row = run_request.state_row
    return Badge(row.state_label, row.state_colour)


def edge_label(edge: Edge) -> str:
    """Return what an arrow is labelled with: nothing for what is usual."""
    when = "" if edge.when == When.COMPLETED else edge.when.value
    value = (
        f"{edge.test.pointer.lstrip('/') or edge.test.artifact} = {json_text(edge.test.equals)}" if edge.test else ""
    )
    return ", ".join(each for each in (when, value) if each)


def edge_sentence(edge: Edge) -> str:
    found = f"{edge.before} {edge.when.value}"
    if test := edge.test:
        found += f", and {test.artifact} {test.pointer or '(all of it)'} is {json_text(test.equals)[:LONGEST_MEMBER]}"
    return found


def marks(step: Step) -> list[str]:
    """Return what is special about a step, in words."""
    found = ["gate"] if step.gate else []
    if step.over:
        found.append("backfill")
    if step.retries:
        found.append("1 retry" if step.retries == 1 else f"{step.retries} retries")
    if step.timeout_minutes:
        found.append(f"at most {plural(step.timeout_minutes, 'minute')}")
    return found


def profile_marks(step: Step) -> list[str]:
    """Return the resource profile of a step as it is defined, and whether each run can have another one."""
    found = [f"resource profile {step.profile}"] if step.profile else []
    if step.chooses_profile:
        found.append(
            "the requester can choose another" if step.profile else "the requester can choose a resource profile"
        )
    return found


def sources(step: Step, public: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
    """Return parameter and where its value is from; of constants only those that `public` has, all without it."""
    found: list[tuple[str, str]] = []
    for name, source in step.parameters.items():
        if "input" in source:
            text = f"input {source['input']}"
        elif "over" in source:
            is_first = all("over" not in step.parameters[before] for before, _ in found)
            text = over_text(source, is_shown=public is None or name in public, is_first=is_first)
        elif "value" in source:
            text = json_text(source["value"]) if public is None or name in public else "hidden"
        else:
            text = f"artifact {source['artifact']} of {source['step']}, {source['pointer'] or 'all of it'}"
            if "schema" in source:
                text += f", within {json_text(source['schema'])}"
        found.append((name, text))
    return found


def over_text(source: Mapping[str, Any], *, is_shown: bool, is_first: bool) -> str:
    """Return for which values a step runs once each; of the first of two parameters also how."""
    over = source["over"]
    if isinstance(over, dict):
        what = f"each of input {over['input']}"
    elif not is_shown:
        what = "each of several, hidden"
    else:
        what = f"each of {over if isinstance(over, str) else json_text(over)}"
    if not is_first:
        return f"with {what}"
    ends = "stops at a failure" if source["on_failure"] == "stop" else "goes on after a failure"
    return f"{what}, {source['at_once']} at a time, {ends}"


def graph(
    title: str,
    definition: Definition,
    badges: Mapping[str, Badge] | None = None,
    links: Mapping[str, str] | None = None,
) -> Any:
    """Draw a chain; without badges as it is defined."""
    boxes = {
        step.key: Box(
            step.key,
            deployment_name(step.deployment),
            badges[step.key].state_label if badges else ", ".join(marks(step)[int(step.gate) :]),
            badges[step.key].state_colour if badges else "blue",
            (links or {}).get(step.key) or f"#step-{step.key}",
            "gate" if step.gate else "",
        )
        for step in definition.steps
    }
    arrows = [Arrow(edge.before, step.key, edge_label(edge)) for step in definition.steps for edge in step.after]
    return step_graph(title, layers(definition.nodes), boxes, arrows)

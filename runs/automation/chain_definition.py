"""The definition of a chain as JSON, read and checked as far as it can be without its deployments.

{"inputs": {"month": {"description": "Month to close", "default": "2026-10"}},
 "steps": [{"key": "ingest", "deployment": "crm-data-ingestion/crm", "parameters": {"month": {"input": "month"}}},
           {"key": "train", "deployment": "training/crm", "gate": true, "retries": 1, "timeout_minutes": 60,
            "parameters": {"rows": {"value": 100},
                           "level": {"step": "ingest", "artifact": "drift", "pointer": "/level"}},
            "after": [{"step": "ingest", "when": "completed"}]}]}

A step that runs once for each value of a parameter has as the source of that parameter
{"over": "2026-01..2026-06", "at_once": 3, "on_failure": "stop"}, or {"over": {"input": "months"}}. With two of them it
runs once for each combination; `at_once` and `on_failure` are of the step, and one of the two can leave them out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.db_text import sanitize, strip_control
from runs.access import predicates
from runs.automation.chain_graph import Edge, Node, ValueTest, When, ancestors, find_cycle
from runs.automation.hook_mapping import DEEPEST
from runs.automation.value_mapping import is_pointer
from runs.errors import Refused
from runs.models import ChangeRequest
from runs.models.chain import LONGEST_KEY
from runs.requests.backfill import AT_ONCE
from runs.requests.backfill_plan import MOST_PARAMETERS
from runs.requests.spec import MOST_RETRIES

OnFailure = ChangeRequest.OnFailure

# What a person can review as one page, and the graph draws.
MOST_STEPS = 100
MOST_MINUTES = 7 * 24 * 60
LONGEST = 200_000
KEY = re.compile(rf"[a-z][a-z0-9_-]{{0,{LONGEST_KEY - 1}}}")
LONGEST_ARTIFACT, LONGEST_PROFILE = 300, 100
STEP = {"key", "deployment", "parameters", "after", "gate", "retries", "timeout_minutes", "profile", "choose_profile"}
EDGE = {"step", "when", "artifact", "pointer", "equals"}
OF_ARTIFACT = {"step", "artifact", "pointer", "schema"}
OVER = {"over", "at_once", "on_failure"}
# Runs of a step that is a backfill, at a time.
MOST_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Varied:
    """A parameter that varies: `values` is a range or a list, or None where `input` names the one that has it."""

    parameter: str
    values: str | list[Any] | None
    input: str


@dataclass(frozen=True, slots=True)
class Over:
    """One or two parameters of a step for each combination of whose values it runs once, so many at a time.

    By name, because stored JSON has no order: the items of a step are numbered.
    """

    varied: tuple[Varied, ...]
    at_once: int
    goes_on: bool

    @property
    def names(self) -> list[str]:
        return [each.parameter for each in self.varied]


@dataclass(frozen=True, slots=True)
class Step:
    """`parameters` has name -> {value}, {input}, {step, artifact, pointer, schema} or {over, at_once, on_failure}.

    The third can lack `schema`, and a step has at most two of the last. `profile` names a resource profile, and
    `chooses_profile` is whether the person who requests a run can choose another one, or none.
    """

    key: str
    deployment: str
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    after: tuple[Edge, ...] = ()
    gate: bool = False
    retries: int = 0
    timeout_minutes: int | None = None
    profile: str = ""
    chooses_profile: bool = False

    @property
    def node(self) -> Node:
        return Node(self.key, self.after)

    @property
    def constants(self) -> dict[str, Any]:
        return {name: source["value"] for name, source in self.parameters.items() if "value" in source}

    @property
    def input_names(self) -> dict[str, str]:
        """Parameter -> the input that it has the value of."""
        return {name: source["input"] for name, source in self.parameters.items() if "input" in source}

    @property
    def over(self) -> Over | None:
        """Return what makes the step a backfill; None of every other step."""
        found = {name: source for name, source in sorted(self.parameters.items()) if "over" in source}
        if not found:
            return None
        pacing = next(iter(found.values()))
        varied = tuple(varied_of(name, source["over"]) for name, source in found.items())
        return Over(varied, pacing["at_once"], pacing["on_failure"] == OnFailure.GO_ON)

    @property
    def inputs(self) -> set[str]:
        """The inputs that it uses."""
        over = self.over
        return {*self.input_names.values(), *(each.input for each in (over.varied if over else ()) if each.input)}

    @property
    def from_artifacts(self) -> dict[str, Mapping[str, Any]]:
        return {name: source for name, source in self.parameters.items() if "artifact" in source}


def varied_of(name: str, over: Any) -> Varied:
    return Varied(name, None, over["input"]) if isinstance(over, dict) else Varied(name, over, "")


@dataclass(frozen=True, slots=True)
class Definition:
    """`inputs` has name -> {description, default}, both of which can be missing."""

    steps: tuple[Step, ...]
    inputs: Mapping[str, Mapping[str, Any]]

    @property
    def nodes(self) -> list[Node]:
        return [step.node for step in self.steps]

    @property
    def stored(self) -> dict[str, Any]:
        """Return it as JSON: the same definition is always spelled the same."""
        return {
            "inputs": {name: dict(each) for name, each in self.inputs.items()},
            "steps": list(map(spell, self.steps)),
        }


def spell(step: Step) -> dict[str, Any]:
    return {
        "key": step.key,
        "deployment": step.deployment,
        "parameters": {name: dict(source) for name, source in step.parameters.items()},
        "after": [spell_edge(edge) for edge in step.after],
        "gate": step.gate,
        "retries": step.retries,
        "timeout_minutes": step.timeout_minutes,
        **({"profile": step.profile} if step.profile else {}),
        **({"choose_profile": True} if step.chooses_profile else {}),
    }


def spell_edge(edge: Edge) -> dict[str, Any]:
    test = edge.test
    value = {"artifact": test.artifact, "pointer": test.pointer, "equals": test.equals} if test else {}
    return {"step": edge.before, "when": edge.when.value, **value}


def read(given: Any) -> Definition:
    """Return a definition that is one; raises `Refused` with code `chain.definition` or `chain.cycle`.

    The data of a refusal names the step, where there is one.
    """
    if not isinstance(given, dict) or set(given) - {"inputs", "steps"} or not isinstance(given.get("steps"), list):
        raise wrong("It must be an object with a list of steps, and optionally inputs.")
    require_storable(given)
    if not 1 <= len(given["steps"]) <= MOST_STEPS:
        raise wrong(f"A chain has 1 to {MOST_STEPS} steps.")
    steps = tuple(read_step(each, place) for place, each in enumerate(given["steps"]))
    keys = [step.key for step in steps]
    for step in steps:
        if keys.count(step.key) > 1:
            raise wrong("There are two steps of this name.", step.key)
        for edge in step.after:
            if edge.before not in keys:
                raise wrong(f"There is no step {edge.before} for it to follow.", step.key)
        if len({edge.before for edge in step.after}) < len(step.after):
            raise wrong("It follows one step twice.", step.key)
    nodes = [step.node for step in steps]
    if cycle := find_cycle(nodes):
        raise Refused("chain.cycle", f"The steps wait for each other: {' → '.join(cycle)}.", step=cycle[0], cycle=cycle)
    for step in steps:
        for name, source in step.from_artifacts.items():
            if source["step"] not in ancestors(nodes, step.key):
                raise wrong(f"{name} is taken from {source['step']}, which is no step before it.", step.key)
        read_from = {edge.before for edge in step.after if edge.test}
        read_from |= {source["step"] for source in step.from_artifacts.values()}
        for each in steps:
            if each.over and each.key in read_from:
                raise wrong(
                    f"No value can be taken from {each.key}, which has a run for each of several values.", step.key
                )
    return Definition(steps, read_inputs(given.get("inputs") or {}, steps))


def require_storable(given: Any) -> None:
    """Refuse what is too large, nested too deeply, or cannot be stored as it is."""
    if depth_of(given, DEEPEST) > DEEPEST:
        raise wrong(f"It is nested more than {DEEPEST} levels deep.")
    if len(json.dumps(given, default=str)) > LONGEST:
        raise wrong(f"It has more than {LONGEST:,} characters.")
    if strip_control(given) != given:
        raise wrong("It has characters or numbers that cannot be stored.")


def depth_of(value: Any, most: int) -> int:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return 1 + max((depth_of(each, most - 1) for each in inner), default=0) if most >= 0 else 1


def read_step(given: Any, place: int) -> Step:
    if not isinstance(given, dict):
        raise wrong("A step must be an object.", place + 1)
    key = given.get("key")
    if not isinstance(key, str) or not KEY.fullmatch(key):
        raise wrong(
            f"Its name begins with a small letter; at most {LONGEST_KEY} small letters, digits, - and _.",
            place + 1,
        )
    if unknown := sorted(set(given) - STEP):
        raise wrong(f"A step has no {unknown[0]}.", key)
    deployment = given.get("deployment")
    if not isinstance(deployment, str) or not deployment.strip():
        raise wrong("Name its deployment.", key)
    parameters, after = given.get("parameters") or {}, given.get("after") or []
    if not isinstance(parameters, dict) or not isinstance(after, list):
        raise wrong("Its parameters are an object, and what it follows is a list.", key)
    gate, retries, minutes = given.get("gate", False), given.get("retries", 0), given.get("timeout_minutes")
    if not isinstance(gate, bool):
        raise wrong("Its gate is true or false.", key)
    if not is_number(retries, 0, MOST_RETRIES):
        raise wrong(f"It has 0 to {MOST_RETRIES} retries.", key)
    if minutes is not None and not is_number(minutes, 1, MOST_MINUTES):
        raise wrong(f"Its time-out is 1 to {MOST_MINUTES} minutes, or none.", key)
    profile, chooses = given.get("profile", ""), given.get("choose_profile", False)
    if not isinstance(profile, str) or len(profile) > LONGEST_PROFILE or not isinstance(chooses, bool):
        raise wrong("Its resource profile is a name, and whether another one can be chosen is true or false.", key)
    sources = {name: read_source(name, source, key) for name, source in parameters.items()}
    sources |= paced(key, {name: source for name, source in sources.items() if "over" in source})
    edges = tuple(read_edge(each, key) for each in after)
    return Step(key, deployment.strip(), sources, edges, gate, retries, minutes, profile.strip(), chooses)


def is_number(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def read_source(name: str, given: Any, key: str) -> dict[str, Any]:
    """Return where a parameter has its value from."""
    if isinstance(given, dict):
        if set(given) == {"value"}:
            return dict(given)
        if set(given) == {"input"} and isinstance(given["input"], str) and KEY.fullmatch(given["input"]):
            return dict(given)
        if "over" in given and (over := read_over(given)):
            return over
        is_artifact = set(given) | {"schema"} == OF_ARTIFACT and isinstance(given["step"], str)
        if is_artifact and is_artifact_key(given["artifact"]) and is_pointer(given["pointer"]):
            if "schema" in given and (errors := predicates.problems({"properties": {name: given["schema"]}})):
                raise wrong(f"The schema of {name} cannot be used. {errors[0]}", key)
            return dict(given)
    raise wrong(
        f'Give {name} a constant ({{"value": 100}}), an input ({{"input": "month"}}), a value of an artifact '
        '({"step": "ingest", "artifact": "drift", "pointer": "/level"}) or values to run over ({"over": "1..12"}).',
        key,
    )


def read_over(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the values of a parameter over which a step runs, with the pacing that is given; None for what is none."""
    over, at_once = given["over"], given.get("at_once", AT_ONCE)
    on_failure = given.get("on_failure", OnFailure.STOP)
    is_named = isinstance(over, dict) and set(over) == {"input"} and isinstance(over["input"], str)
    is_known = isinstance(over, str | list) or (is_named and KEY.fullmatch(over["input"]))
    if (
        not is_known
        or set(given) - OVER
        or not is_number(at_once, 1, MOST_AT_ONCE)
        or on_failure not in list(OnFailure)
    ):
        return None
    return {name: str(each) if name == "on_failure" else each for name, each in given.items()}


def paced(key: str, sources: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the parameters over which a step runs, each with the pacing of the step."""
    if len(sources) > MOST_PARAMETERS:
        raise wrong(f"It runs over the values of one or {MOST_PARAMETERS} parameters.", key)
    pacing: dict[str, Any] = {"at_once": AT_ONCE, "on_failure": OnFailure.STOP.value}
    for name in pacing:
        given = {source[name] for source in sources.values() if name in source}
        if len(given) > 1:
            raise wrong("Say once how many runs are open at a time, and what a failure does: it is of the step.", key)
        pacing[name] = next(iter(given), pacing[name])
    return {name: {"over": source["over"], **pacing} for name, source in sources.items()}


def is_artifact_key(text: Any) -> bool:
    return isinstance(text, str) and 0 < len(text) <= LONGEST_ARTIFACT and sanitize(text) == text


def read_edge(given: Any, key: str) -> Edge:
    if not isinstance(given, dict) or set(given) - EDGE or not isinstance(given.get("step"), str):
        raise wrong('What it follows is written {"step": "ingest", "when": "completed"}.', key)
    when = given.get("when", When.COMPLETED)
    if when not in list(When):
        raise wrong(f"It follows a step that is {', '.join(When)}.", key)
    tested = set(given) & {"artifact", "pointer", "equals"}
    if not tested:
        return Edge(given["step"], When(when))
    if len(tested) < 3 or not is_artifact_key(given["artifact"]) or not is_pointer(given["pointer"]):
        raise wrong("A condition on a value needs an artifact, a pointer such as /level, and what it equals.", key)
    return Edge(given["step"], When(when), ValueTest(given["artifact"], given["pointer"], given["equals"]))


def read_inputs(given: Any, steps: tuple[Step, ...]) -> dict[str, dict[str, Any]]:
    """Return the inputs that the steps use, with what is said about them."""
    used = sorted({name for step in steps for name in step.inputs})
    if not isinstance(given, dict):
        raise wrong("The inputs are an object.")
    for name, about in given.items():
        if name not in used:
            raise wrong(f"No step uses the input {name}.")
        if not isinstance(about, dict) or set(about) - {"description", "default"}:
            raise wrong(f"The input {name} has a description and a default, or less.")
        if not isinstance(about.get("description", ""), str):
            raise wrong(f"The description of the input {name} is text.")
    return {name: dict(given.get(name, {})) for name in used}


def wrong(what: str, step: str | int = "") -> Refused:
    return Refused("chain.definition", f"{f'Step {step}: ' if step else ''}{what}", step=step)

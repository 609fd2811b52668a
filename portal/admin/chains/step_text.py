"""What a step of the chain form follows, and its parameters, as lines of text: one condition or parameter a line.

ingest
drift completed if crm-drift /level = "HIGH"

month = {month}
rows = 100
level = drift: crm-drift /level
month = over 2026-01..2026-06, 3 at once, go on
month = over {months}
region = over eu, us
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

EDGE = re.compile(
    r"(?P<step>[\w-]+)(?:\s+(?P<when>\w+))?(?:\s+if\s+(?P<artifact>\S+)(?:\s+(?P<pointer>/\S*))?\s*=\s*(?P<equals>.+))?"
)
PARAMETER = re.compile(r"(?P<name>[^=\s]+)\s*=\s*(?P<value>.*)")
INPUT = re.compile(r"\{(?P<input>[\w-]+)\}")
ARTIFACT = re.compile(
    r"(?P<step>[\w-]+):\s+(?P<artifact>\S+)(?:\s+(?P<pointer>/\S*))?(?:\s+within\s+(?P<schema>\{.*\}))?"
)
OVER = re.compile(r"over\s+(?P<what>.+?)(?:\s*,\s*(?P<at_once>\d{1,4}) at once)?(?P<go_on>\s*,\s*go on)?", re.DOTALL)


def read_after(text: str) -> list[dict[str, Any]]:
    """Return the conditions in a text; raises `ValueError` with a sentence."""
    found = []
    for each in lines(text):
        match = EDGE.fullmatch(each)
        if match is None:
            raise ValueError(f"“{each}” is not a step, optionally with completed, failed or finished and a value.")
        edge: dict[str, Any] = {"step": match["step"], "when": match["when"] or "completed"}
        if match["artifact"]:
            edge |= {
                "artifact": match["artifact"],
                "pointer": match["pointer"] or "",
                "equals": read_value(match["equals"]),
            }
        found.append(edge)
    return found


def read_parameters(text: str) -> dict[str, dict[str, Any]]:
    """Return the parameters in a text; raises `ValueError` with a sentence."""
    found: dict[str, dict[str, Any]] = {}
    for each in lines(text):
        match = PARAMETER.fullmatch(each)
        if match is None:
            raise ValueError(
                f"“{each}” is not a parameter: write month = {{month}}, rows = 100, or level = step: key /x."
            )
        name, value = match["name"], match["value"].strip()
        if name in found:
            raise ValueError(f"{name} has two values.")
        if of := INPUT.fullmatch(value):
            found[name] = {"input": of["input"]}
        elif over := OVER.fullmatch(value):
            found[name] = read_over(over)
        elif source := ARTIFACT.fullmatch(value):
            found[name] = {
                "step": source["step"],
                "artifact": source["artifact"],
                "pointer": source["pointer"] or "",
                **({"schema": read_value(source["schema"])} if source["schema"] else {}),
            }
        else:
            found[name] = {"value": read_value(value)}
    return found


def read_over(found: re.Match[str]) -> dict[str, Any]:
    """Return what a step runs over."""
    of, what = INPUT.fullmatch(found["what"]), read_value(found["what"])
    return {
        "over": {"input": of["input"]} if of else what if isinstance(what, list) else found["what"],
        **({"at_once": int(found["at_once"])} if found["at_once"] else {}),
        **({"on_failure": "go_on"} if found["go_on"] else {}),
    }


def write_over(source: Mapping[str, Any], *, is_first: bool) -> str:
    """Return what a step runs over; how is written once, although each parameter has it."""
    over = source["over"]
    what = f"{{{over['input']}}}" if isinstance(over, dict) else over if isinstance(over, str) else json.dumps(over)
    if not is_first:
        return f"over {what}"
    return f"over {what}, {source['at_once']} at once{', go on' if source['on_failure'] == 'go_on' else ''}"


def write_after(edges: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(write_edge(each) for each in edges)


def write_edge(edge: Mapping[str, Any]) -> str:
    found = f"{edge['step']} {edge['when']}"
    if "artifact" in edge:
        found += f" if {edge['artifact']} {edge['pointer']} = {json.dumps(edge['equals'], ensure_ascii=False)}"
    return found


def write_parameters(parameters: Mapping[str, Mapping[str, Any]]) -> str:
    first = next((name for name, source in parameters.items() if "over" in source), "")
    return "\n".join(f"{name} = {write_source(source, is_first=name == first)}" for name, source in parameters.items())


def write_source(source: Mapping[str, Any], *, is_first: bool) -> str:
    if "input" in source:
        return f"{{{source['input']}}}"
    if "over" in source:
        return write_over(source, is_first=is_first)
    if "value" in source:
        return json.dumps(source["value"], ensure_ascii=False)
    found = f"{source['step']}: {source['artifact']} {source['pointer']}".strip()
    return f"{found} within {json.dumps(source['schema'], ensure_ascii=False)}" if "schema" in source else found


def read_value(text: str) -> Any:
    """Return JSON, or the text itself if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.strip()


def lines(text: str) -> list[str]:
    return [each.strip() for each in text.splitlines() if each.strip()]

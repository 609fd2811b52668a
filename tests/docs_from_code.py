"""Writes the pages of docs/, or the parts of them, that are made from the code: `make docs`."""

from __future__ import annotations

import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

from flows.parameters.messages import CODES as PARAMETER_CODES
from portal.demo.processes import ROOT
from runs.errors import CODES

ERRORS = """# Codes of refusals

A service that refuses says why in two ways: a code for programs, tests and forms, and a sentence for people. The
sentence may change, the code stays. The audit trail keeps the code of each refusal.

| Code | Meaning |
|---|---|
{rows}

# Codes of parameter errors

Values that do not satisfy a deployment's schema are refused with `parameters.invalid`: every error at once, each with
the name of its parameter and one of these codes.

| Code | Meaning |
|---|---|
{parameter_rows}
"""


def errors() -> str:
    return ERRORS.format(rows=table(CODES), parameter_rows=table(PARAMETER_CODES))


def table(codes: dict[str, str]) -> str:
    return "\n".join(f"| `{code}` | {meaning} |" for code, meaning in codes.items())


def contracts() -> list[dict[str, Any]]:
    """The import contracts, as import-linter reads them."""
    found: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    return found


def folders(root: str) -> list[str]:
    return sorted(f"{root}.{path.parent.name}" for path in (ROOT / root).glob("*/__init__.py"))


def picture() -> str:
    """The folders, what each layer may import (solid) and what is never imported (dotted), as a Mermaid diagram."""
    layers: list[str] = next(each["layers"] for each in contracts() if each["type"] == "layers")
    lines = ["```mermaid", "flowchart TB"]
    left_out = ("migrations", "templates", "static", "templatetags", "management")
    for layer in layers:
        lines += [f"  subgraph {layer}"]
        lines += [f"    {name}[{name.partition('.')[2]}]" for name in folders(layer) if not name.endswith(left_out)]
        lines += ["  end"]
    lines += [f"  {upper} --> {lower}" for upper, lower in pairwise(layers)]
    drawn = {name for layer in layers for name in folders(layer)} | set(layers)
    for each in contracts():
        if each["type"] == "forbidden" and len(each["source_modules"]) == 1:
            lines += [
                f"  {source} -. never .-> {target}"
                for source in each["source_modules"]
                for target in each["forbidden_modules"]
                if source in drawn and target in drawn and not target.endswith(left_out)
            ]
    rules = [f"- {each['name'][0].upper()}{each['name'][1:]}." for each in contracts()]
    return "\n".join([*lines, "```", "", *rules])


def architecture(text: str) -> str:
    """The page with its picture made anew."""
    head, _, rest = text.partition("<!-- made by make docs -->\n")
    _, _, tail = rest.partition("<!-- end -->")
    return f"{head}<!-- made by make docs -->\n\n{picture()}\n\n<!-- end -->{tail}"


def main() -> None:
    docs: Path = ROOT / "docs"
    (docs / "errors.md").write_text(errors())
    (docs / "architecture.md").write_text(architecture((docs / "architecture.md").read_text()))


if __name__ == "__main__":
    main()

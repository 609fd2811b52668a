"""What the documents draw is what the code says."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

from runs import desk
from runs.changes import LEGAL_FROM
from runs.models.request import State
from tests.docs_from_code import architecture, errors

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
# Classes, and helpers of the commands themselves.
UNLISTED = {"Hours", "NotVisible", "StillRunning", "chosen", "typed", "user"}
GUIDES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md")


def drawn() -> str:
    """The legal moves as a Mermaid state diagram."""
    begins = [f"    [*] --> {state}" for state in (State.WAITING, State.APPROVED)]
    moves = [
        f"    {source} --> {to}"
        for to, sources in LEGAL_FROM.items()
        for source in sorted(sources, key=list(State).index)
        if source != to
    ]
    names = [f'    state "{state.label}" as {state}' for state in State]
    return "\n".join(["```mermaid", "stateDiagram-v2", *names, *begins, *moves, "```"])


def test_the_drawing_of_the_lifecycle_is_the_table() -> None:
    text = (DOCS / "lifecycle.md").read_text()
    assert drawn() in text, f"Put this into docs/lifecycle.md:\n{drawn()}"


def test_what_is_made_from_the_code_is_up_to_date() -> None:
    page = (DOCS / "architecture.md").read_text()
    assert architecture(page) == page, "Run make docs."
    assert errors() == (DOCS / "errors.md").read_text(), "Run make docs."


@pytest.mark.parametrize("guide", GUIDES)
def test_the_files_that_a_guide_names_exist(guide: str) -> None:
    named = re.findall(r"`((?:flows|runs|portal|tests|benchmarks|docs)/[\w./]*)`", (ROOT / guide).read_text())
    assert not [name for name in named if not (ROOT / name).exists() and name != "benchmarks/proof.json"]


@pytest.mark.parametrize("guide", GUIDES)
def test_the_make_targets_that_a_guide_names_exist(guide: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:`|^|\n)make ([a-z-]+)", (ROOT / guide).read_text())
    assert set(named) <= targets


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_the_python_names_that_a_page_mentions_exist(page: str) -> None:
    named = re.findall(r"`((?:desk|runs|flows|portal)\.[a-z_]+(?:\.\w+)*)[`(]", (DOCS / page).read_text())
    for name in named:
        if not name.endswith(".py"):
            pkgutil.resolve_name(f"runs.{name}" if name.startswith("desk.") else name)


def test_the_functions_that_the_page_on_commands_lists_are_the_desk() -> None:
    listed = set(re.findall(r"`(\w+)(?:\(.*?\))?`", "\n".join(re.findall(r"^\| `.*$", python_part(), re.MULTILINE))))
    assert {name for name in listed if name in dir(desk)} >= set(desk.__all__) - UNLISTED


def python_part() -> str:
    return (DOCS / "commands.md").read_text().partition("## From Python")[2]

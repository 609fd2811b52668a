"""The codes of refusals, each with the sentence or sentences that it comes with."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from portal.demo.processes import ROOT
from runs.errors import CODES
from tests.expected_sentences import SENTENCES

RAISED = {"Refused", "NotVisible", "StillRunning", "Decision"}


def sources() -> Iterator[Path]:
    for folder in ("runs", "portal"):
        yield from (ROOT / folder).rglob("*.py")


def template_of(node: ast.expr) -> str:
    """The text of a message with {} for what is filled in; {…} alone where all of it is."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return "{…}"


@cache
def raised() -> dict[str, set[str]]:
    """code -> the messages that the code of the product gives it."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
            args = node.args[1:] if name == "Decision" else node.args
            if name in RAISED and len(args) >= 2 and isinstance(args[0], ast.Constant):
                found[str(args[0].value)].add(template_of(args[1]))
            elif name == "refuse" and len(args) == 3 and isinstance(args[1], ast.Constant):
                found[str(args[1].value)].add(template_of(args[2]))
    return found


def test_every_refusal_has_a_code_that_is_described() -> None:
    assert raised().keys() == CODES.keys()


@pytest.mark.parametrize("code", sorted(CODES))
def test_the_sentences_of_a_code(code: str) -> None:
    assert sorted(raised()[code]) == SENTENCES[code]


def test_no_code_is_listed_that_does_not_exist() -> None:
    assert SENTENCES.keys() == CODES.keys()

"""What the documents draw is what the code says."""

from __future__ import annotations

from pathlib import Path

from runs.changes import LEGAL_FROM
from runs.models.request import State

DOCS = Path(__file__).parent.parent / "docs"


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

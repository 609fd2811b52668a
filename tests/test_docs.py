"""What the documents draw is what the code says."""

from __future__ import annotations

import pkgutil
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pytest
from django.core.management import load_command_class
from django.db.models import TextChoices

from portal.client.command_line import build_parser
from portal.management.commands import demo_story
from runs import actions
from runs.actors import Channel, Kind
from runs.changes import CHANGE_LEGAL_FROM, LEGAL_FROM
from runs.models import ChangeRequest
from runs.models.action import State as ActionState
from runs.models.request import State
from tests.docs_from_code import architecture, errors

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
COMMANDS, PORTAL_COMMANDS = (ROOT / app / "management" / "commands" for app in ("runs", "portal"))
# Started by the product itself, by an installation (docs/production.md) or by `make`.
INTERNAL = {
    "demo",
    "demo_cast",
    "demo_story",
    "dev",
    "follow",
    "new_database",
    "qcluster",
    "secure_audit",
    "sync_periodic",
}
GUIDES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md")
PAGES = sorted(path.name for path in DOCS.glob("*.md"))


def drawn[State: TextChoices](first: Sequence[State], moves_to: Mapping[State, Collection[State]]) -> str:
    """The legal moves as a Mermaid state diagram."""
    states = list(type(first[0]))
    begins = [f"    [*] --> {state}" for state in first]
    moves = [
        f"    {source} --> {to}"
        for to, sources in moves_to.items()
        for source in sorted(sources, key=states.index)
        if source != to
    ]
    names = [f'    state "{state.label}" as {state}' for state in states]
    return "\n".join(["```mermaid", "stateDiagram-v2", *names, *begins, *moves, "```"])


@pytest.mark.parametrize(
    "drawing",
    [
        drawn([ChangeRequest.State.WAITING, ChangeRequest.State.APPROVED], CHANGE_LEGAL_FROM),
        drawn([State.HELD, State.APPROVED], LEGAL_FROM),
        drawn([ActionState.WANTED], actions.LEGAL_FROM),
    ],
    ids=["change requests", "run requests", "actions"],
)
def test_the_drawings_of_the_lifecycle_are_the_tables(drawing: str) -> None:
    text = (DOCS / "lifecycle.md").read_text()
    assert drawing in text, f"Put this into docs/lifecycle.md:\n{drawing}"


def test_what_is_made_from_the_code_is_up_to_date() -> None:
    page = (DOCS / "architecture.md").read_text()
    assert architecture(page) == page, "Run make docs."
    assert errors() == (DOCS / "errors.md").read_text(), "Run make docs."


@pytest.mark.parametrize("guide", sorted({*GUIDES, *(f"docs/{page}" for page in PAGES)}))
def test_the_files_that_a_guide_names_exist(guide: str) -> None:
    named = re.findall(r"`((?:flows|runs|portal|tests|benchmarks|docs)/[\w./]*)`", (ROOT / guide).read_text())
    assert not [name for name in named if not (ROOT / name).exists() and name != "benchmarks/proof.json"]


@pytest.mark.parametrize("guide", GUIDES)
def test_the_make_targets_that_a_guide_names_exist(guide: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:`|^|\n)make ([a-z-]+)", (ROOT / guide).read_text())
    assert set(named) <= targets


@pytest.mark.parametrize("page", PAGES)
def test_the_python_names_that_a_page_mentions_exist(page: str) -> None:
    named = re.findall(r"`((?:runs|flows|portal)\.[a-z_]+(?:\.\w+)*)[`(]", (DOCS / page).read_text())
    for name in named:
        if not name.endswith(".py"):
            pkgutil.resolve_name(name)


def command_rows() -> dict[str, str]:
    """command -> what the row of the table on commands says of it, up to the next command in the row."""
    rows = re.findall(r"^\| `(?:manage\.py )?(.*) \|$", (DOCS / "commands.md").read_text(), re.MULTILINE)
    found: dict[str, str] = {}
    for row in rows:
        # A row can hold several commands: `manage.py approve …`, `reject …`.
        for part in re.split(r"`, `", row):
            name = part.split()[0].strip("`")
            if (COMMANDS / f"{name}.py").exists() or (PORTAL_COMMANDS / f"{name}.py").exists():
                found[name] = found.get(name, "") + part
    return found


@pytest.mark.parametrize("name", sorted(command_rows()))
def test_the_table_of_commands_agrees_with_their_parsers(name: str) -> None:
    app = "runs" if (COMMANDS / f"{name}.py").exists() else "portal"
    parser = load_command_class(app, name).create_parser("manage.py", name)
    row = command_rows()[name]
    options = {option: action for action in parser._actions for option in action.option_strings}
    assert set(re.findall(r"(?<![\w-])--[a-z-]+", row)) <= options.keys()
    # What cannot be left out is in the row; of options that exclude each other one is enough.
    required = [[action] for action in parser._actions if action.required and action.option_strings]
    required += [group._group_actions for group in parser._mutually_exclusive_groups if group.required]
    for alternatives in required:
        assert any(option in row for action in alternatives for option in action.option_strings), alternatives


def test_every_command_for_people_is_in_the_table() -> None:
    ours = {path.stem for folder in (COMMANDS, PORTAL_COMMANDS) for path in folder.glob("[a-z]*.py")}
    assert ours - command_rows().keys() == INTERNAL


def test_the_commands_of_the_client_that_the_page_lists_are_those_there_are() -> None:
    parser = build_parser()
    rows = re.findall(r"^\| (`portal .*?`) \|", (DOCS / "client.md").read_text(), re.MULTILINE)
    examples = [example for row in rows for example in re.findall(r"`portal (.*?)`", row)]
    listed = {parser.parse_args(shlex.split(example)).command for example in examples}
    (commands,) = (action for action in parser._actions if action.dest == "command")
    assert listed == set(commands.choices or ()) - {"login", "logout", "completion"}


def test_the_commands_without_json_are_those_that_the_page_names() -> None:
    without = set()
    for name in command_rows():
        app = "runs" if (COMMANDS / f"{name}.py").exists() else "portal"
        parser = load_command_class(app, name).create_parser("manage.py", name)
        if not any("--json" in action.option_strings for action in parser._actions):
            without.add(name)
    (named,) = re.findall(r"^All but (.*) print JSON", (DOCS / "commands.md").read_text(), re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", named)) == without


def test_the_doors_that_the_page_on_the_audit_trail_names_are_those_there_are() -> None:
    text = (DOCS / "audit.md").read_text()
    source = "\n".join(path.read_text() for folder in ("runs", "portal") for path in (ROOT / folder).rglob("*.py"))
    for column, names in (("channel", Channel), ("actor_kind", Kind)):
        (row,) = re.findall(rf"^\| `{column}`.* \| (.*) \|$", text, re.MULTILINE)
        used = {each.value for each in names if re.search(rf"(?<![.\w]){names.__name__}\.{each.name}\b", source)}
        assert set(re.findall(r"`(\w+)`", row)) == used


def test_the_months_of_the_demo_are_those_that_the_documents_name() -> None:
    runs = [flow for line in demo_story.STORY for flow, _ in line]
    words = {3: "three", 4: "four"}
    counts = [words[runs.count(flow)] for flow in (demo_story.ACQUIRE, demo_story.TRAIN, demo_story.MONITOR)]
    for guide in ("README.md", "docs/monitoring.md"):
        text = " ".join((ROOT / guide).read_text().split())
        found = re.search(
            r"(\w+) months (?:of sales data )?are acquired and ingested, (\w+) months are used for training, "
            r"and (\w+) months are monitored",
            text,
        )
        assert found
        assert list(found.groups()) == counts
    assert runs.count(demo_story.INGEST) == runs.count(demo_story.ACQUIRE)

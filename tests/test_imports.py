"""Rules about the code that neither import-linter nor ruff can hold, and proof that the import contracts hold theirs.

The contracts themselves are in pyproject.toml.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import grimp
import pytest
from importlinter import Contract
from importlinter.api import read_configuration
from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract
from importlinter.contracts.protected import ProtectedContract

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("flows", "runs", "portal")

ACTING = frozenset({"create_flow_run", "cancel", "set_paused", "reschedule", "set_failed"})
WRITING = frozenset({"create", "bulk_create", "bulk_update", "update", "update_or_create", "get_or_create", "delete"})
# What a page must not reach: all of it waits for Prefect, or does what only background tasks do.
BACKSTAGE = (
    *("flows.prefect_api.client", "flows.prefect_api.connect", "flows.prefect_api.transport", "flows.catalog.sync"),
    *("runs.dispatch", "runs.mirror", "runs.tasks", "flows.tasks"),
)
# The file names that recur in the folders of subjects; every other name exists once.
RECURRING = frozenset({"__init__", "actions", "admin", "apps", "events", "filters", "forms", "page", "queries", "sync"})
FOLK_NAMES = frozenset({"utils.py", "helpers.py", "misc.py", "common.py", "signals.py", "registry.py"})


@dataclass(frozen=True)
class Source:
    """One file of the product; `path` is relative to the root."""

    path: str
    tree: ast.Module

    @classmethod
    def of(cls, path: str, text: str) -> Source:
        return cls(path, ast.parse(textwrap.dedent(text)))

    @property
    def module(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def is_in(self, *places: str) -> bool:
        return any(self.path.startswith(place) if place.endswith("/") else self.path == place for place in places)

    @property
    def is_model(self) -> bool:
        return self.path.endswith("/models.py") or "/models/" in self.path

    def imports(self) -> Iterator[tuple[int, str]]:
        """Line and full name of everything imported: `from a import b` is `a.b`."""
        package = self.module if self.path.endswith("__init__.py") else self.module.rpartition(".")[0]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                start = ".".join([*base, *([node.module] if node.module else [])])
                yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)

    def finds(self, *targets: str) -> Iterator[tuple[int, str]]:
        """The imports of these modules, or of something inside them."""
        for line, name in self.imports():
            if any(name == target or name.startswith(f"{target}.") for target in targets):
                yield line, name

    def says(self, line: int, sentence: str) -> str:
        return f"{self.path}:{line}: {sentence}"


Rule = Callable[[Source], Iterator[str]]


def task_names_exist(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            room, _, function = node.value.partition(".tasks.")
            if room in ROOMS and function.isidentifier() and function not in functions_of(f"{room}/tasks.py"):
                yield source.says(node.lineno, f"there is no task {node.value}.")


def flows_and_runs_know_no_pages(source: Source) -> Iterator[str]:
    if source.is_in("flows/", "runs/"):
        for line, name in source.finds("django.http", "django.contrib.admin", "django.shortcuts", "unfold"):
            yield source.says(line, f"{name} belongs to portal: flows and runs do not know who is looking.")


def flows_and_runs_know_no_addresses(source: Source) -> Iterator[str]:
    if source.is_in("flows/", "runs/") and not source.is_in("flows/prefect_api/"):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("/admin/"):
                yield source.says(node.lineno, f"{node.value} is a path of the portal: pass the row instead.")


def readers_do_not_act(source: Source) -> Iterator[str]:
    if source.is_in("runs/mirror/", "flows/catalog/"):
        for line, owner, attribute in attributes(source):
            if owner == "changes" and attribute not in ("settle", "settle_deleted", "settle_swept"):
                yield source.says(line, f"only what settles is a bridge from fact to request, not {attribute}.")
            elif owner not in ("changes", "task") and attribute in ACTING:  # an asyncio task is cancelled too
                yield source.says(line, f"mirror and catalogue never act on Prefect: {attribute}.")
    if not source.is_in("runs/dispatch/", "flows/prefect_api/"):
        for line, _, attribute in attributes(source):
            if attribute in ACTING - {"cancel"}:
                yield source.says(line, f"only runs/dispatch asks Prefect to act: {attribute}.")


def a_nudge_is_not_a_fact(source: Source) -> Iterator[str]:
    if source.is_in("runs/mirror/follower.py", "runs/follow/", "portal/hooks/"):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                chain = ast.unparse(node.func)
                if node.func.attr == "save" or (".objects." in chain and node.func.attr in WRITING):
                    yield source.says(node.lineno, f"an event or a webhook is a nudge, it may not write: {chain}.")


def files_are_named_after_nouns(source: Source) -> Iterator[str]:
    if Path(source.path).name in FOLK_NAMES:
        yield source.says(1, "name the file after what it knows, not after how it is used.")


RULES: list[Rule] = [
    task_names_exist,
    flows_and_runs_know_no_pages,
    flows_and_runs_know_no_addresses,
    readers_do_not_act,
    a_nudge_is_not_a_fact,
    files_are_named_after_nouns,
]


def attributes(source: Source) -> Iterator[tuple[int, str, str]]:
    """Line, owner and name of every `owner.name` used."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute):
            yield node.lineno, node.value.id if isinstance(node.value, ast.Name) else "", node.attr


@cache
def functions_of(path: str) -> frozenset[str]:
    if not (ROOT / path).exists():
        return frozenset()
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@cache
def product() -> tuple[Source, ...]:
    """Every Python file of the three rooms; migrations are frozen history and follow no arrows."""
    paths = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")) if "migrations" not in path.parts]
    return tuple(Source.of(path.relative_to(ROOT).as_posix(), path.read_text()) for path in paths)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_code_keeps_the_rule(rule: Rule) -> None:
    breaches = [breach for source in product() for breach in rule(source)]
    assert not breaches, "\n".join(["", *breaches])


def test_a_file_name_exists_once_or_recurs_in_every_subject() -> None:
    names = Counter(
        Path(source.path).stem
        for source in product()
        if not source.is_model and "/management/commands/" not in source.path and "/migrations/" not in source.path
    )
    assert {name for name, count in names.items() if count > 1} <= RECURRING


def test_no_base_class_has_one_child() -> None:
    classes = {node.name: (s, node) for s in product() for node in ast.walk(s.tree) if isinstance(node, ast.ClassDef)}
    parents = [base for _, node in classes.values() for base in node.bases]
    children = Counter(last_name(base) for base in parents)
    inherited = {id(node) for base in parents for node in ast.walk(base)}
    # A class that is also used itself, such as an exception that is raised, is more than a base.
    used = {
        last_name(node)
        for source in product()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in inherited
    }
    lonely = [
        source.says(node.lineno, f"{name} has one child and no other use: make them one class.")
        for name, (source, node) in classes.items()
        if children[name] == 1 and name not in used
    ]
    assert not lonely, "\n".join(["", *lonely])


def last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Subscript):
        return last_name(node.value)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


# For each contract in pyproject.toml: an import (importer, imported) that breaks it.
BREACHES: dict[str, tuple[str, str]] = {
    "portal imports runs, runs imports flows, never the other way": ("runs.tasks", "portal.settings"),
    "the pipelines know nothing else of ours, and no Django": ("flows.crm.lake", "flows.prefect_api.records"),
    "only flows.deploy and tests import the pipelines": ("flows.catalog.sync", "flows.crm.lake"),
    "Prefect's own library stays in the pipelines and in flows.deploy": ("runs.tasks", "prefect"),
    "a page asks by queueing: it imports nothing that waits for Prefect": ("portal.live.stream", "runs.mirror"),
    "tasks are called by name through runs.queue": ("runs.requests.submit", "runs.tasks"),
    "models import no services": ("runs.models.run", "runs.changes"),
    "flows and runs know no theme": ("runs.audit.record", "unfold"),
    "the mirror and the catalog never act on Prefect": ("runs.mirror.upsert", "runs.dispatch"),
    "what happens writes events, and reacts to nothing itself": ("runs.changes.settle", "runs.notifications.services"),
    "building blocks of pages import no pages": ("portal.ui.tables", "portal.admin.overview"),
    "the demo's parts import no pages": ("portal.demo.stack", "portal.admin.overview"),
    "the subjects of runs import each other in one direction": ("runs.governance.freezes", "runs.changes"),
    "django-q2 stays behind runs.queue": ("runs.requests.submit", "django_q"),
    "HTTP and websockets stay in the clients, channels, the keys of job tokens and the demo": (
        "portal.live.stream",
        "httpx",
    ),
    "a process of its own sends with Apprise": ("runs.notifications.sending", "apprise"),
    "only background tasks send messages": ("runs.notifications.services", "runs.notifications.sending"),
    "the API's client knows nothing else of ours, and no Django": ("portal.client.portal_api", "runs.errors"),
    "tables are made in one place": ("portal.admin.runs.admin", "django_tables2"),
}


KINDS: dict[str, type[Contract]] = {
    "acyclic_siblings": AcyclicSiblingsContract,
    "forbidden": ForbiddenContract,
    "layers": LayersContract,
    "protected": ProtectedContract,
}


@cache
def contracts() -> dict[str, Contract]:
    """The contracts of pyproject.toml by name."""
    configuration = read_configuration(str(ROOT / "pyproject.toml"))
    session, options = configuration["session_options"], configuration["contracts_options"]
    return {each["name"]: KINDS[each["type"]](each["name"], session, each) for each in options}


@cache
def import_graph() -> grimp.ImportGraph:
    return grimp.build_graph(*ROOMS, include_external_packages=True, cache_dir=None)


def is_kept(name: str, *breach: str) -> bool:
    graph = deepcopy(import_graph())
    if breach:
        importer, imported = breach
        assert importer in graph.modules, importer
        graph.add_import(importer=importer, imported=imported)
    return contracts()[name].check(graph, verbose=False).kept


def test_every_contract_has_a_breach_to_try() -> None:
    assert set(contracts()) == set(BREACHES)


@pytest.mark.parametrize("name", BREACHES)
def test_a_contract_finds_its_breach(name: str) -> None:
    assert is_kept(name)
    assert not is_kept(name, *BREACHES[name])


# rule, file, what is written there: each rule finds what it is for.
TRESPASSES: list[tuple[Rule, str, str]] = [
    (task_names_exist, "runs/requests/submit.py", "later('runs.tasks.no_such_task', 1)"),
    (flows_and_runs_know_no_pages, "runs/audit.py", "from django.http import HttpRequest"),
    (flows_and_runs_know_no_pages, "flows/models.py", "from django.contrib import admin"),
    (flows_and_runs_know_no_addresses, "runs/requests/submit.py", "notify(path=f'/admin/runs/run/{run.pk}/change/')"),
    (readers_do_not_act, "runs/mirror/upsert.py", "changes.approve(run_request.change)"),
    (readers_do_not_act, "flows/catalog/sync.py", "client.set_paused(1, True)"),
    (readers_do_not_act, "runs/requests/submit.py", "client.create_flow_run(1)"),
    (a_nudge_is_not_a_fact, "runs/mirror/follower.py", "Run.objects.filter(pk=1).update(state='x')"),
    (files_are_named_after_nouns, "runs/utils.py", ""),
]


@pytest.mark.parametrize(("rule", "path", "text"), TRESPASSES)
def test_a_trespass_is_found_and_named(rule: Rule, path: str, text: str) -> None:
    breaches = list(rule(Source.of(path, text)))
    assert breaches, f"{rule.__name__} does not see: {text}"
    assert all(breach.startswith(f"{path}:") and breach.endswith(".") for breach in breaches)


def test_nothing_is_passed_over() -> None:
    assert {source.module for source in product()} >= {"flows.models", "runs.audit", "portal.settings"}


def loaded_by(program: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after running `program`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PORTAL_", "DJANGO_"))}
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint('\\n'.join(sys.modules))"],
        cwd=ROOT,
        env=inherited | {"PORTAL_MODE": "test", "DJANGO_SETTINGS_MODULE": "portal.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_web_process_loads_neither_prefect_nor_the_gateway() -> None:
    loaded = loaded_by("import portal.asgi, portal.urls")
    assert not {"prefect", "fastapi", "flows.deploy", *BACKSTAGE} & loaded


def test_qcluster_and_the_follower_do_not_load_prefect() -> None:
    loaded = loaded_by(
        "import django; django.setup()\n"
        "import runs.cluster, runs.tasks, runs.management.commands.follow\n"
        "from django.conf import settings; from django.utils.module_loading import import_string\n"
        "import_string(settings.PREFECT_CLIENT); import_string(settings.Q_CLUSTER['broker_class'])"
    )
    assert not {"prefect", "fastapi", "flows.deploy"} & loaded


@pytest.mark.ml
def test_the_pipelines_do_not_load_django() -> None:
    modules = sorted(source.module for source in product() if source.is_in("flows/crm/"))
    loaded = loaded_by(f"import {', '.join(modules)}")
    assert "prefect" in loaded
    assert not {name for name in loaded if name == "django" or name.startswith(("django.", "runs", "portal"))}

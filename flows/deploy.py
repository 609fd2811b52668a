"""Publish the bundled pipelines to the Prefect server of PREFECT_API_URL: `python -m flows.deploy --help`."""

import argparse
import ast
import hashlib
import importlib
import importlib.metadata
import json
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker

HOME = Path(__file__).resolve().parent.parent  # the folder that holds the package `flows`
DISTRIBUTION = "prefect-operations-portal"
DEFAULT_POOL = "portal-pool"
PATIENCE = 15.0  # seconds for one answer of the server


@dataclass(frozen=True, slots=True)
class Pipeline:
    module: str
    function: str
    tags: tuple[str, ...]
    programs: tuple[str, ...] = ()  # modules that it starts as programs, and therefore never imports

    @property
    def entrypoint(self) -> str:
        """By module, not by path: a path would put its folder first on the worker's import path."""
        return f"{self.module}:{self.function}"


# The name of the flow, which is also the name of its deployment.
PIPELINES: dict[str, Pipeline] = {
    "crm-data-acquisition": Pipeline("flows.crm.acquisition", "crm_data_acquisition", ("crm",)),
    "crm-data-ingestion": Pipeline("flows.crm.ingestion", "crm_data_ingestion", ("crm",)),
    "monthly-win-probability-training": Pipeline("flows.crm.training", "monthly_win_probability_training", ("crm",)),
    "reference-data-creation": Pipeline("flows.crm.reference", "reference_data_creation", ("crm",)),
    "model-drift-monitoring": Pipeline(
        "flows.crm.drift_monitoring", "model_drift_monitoring", ("crm",), programs=("flows.crm.evidently_report",)
    ),
    "crm-data-cleanup": Pipeline("flows.crm.cleanup", "crm_data_cleanup", ("crm",)),
    "every-parameter-kind": Pipeline("flows.crm.every_kind", "every_parameter_kind", ("sample",)),
    "long-haul": Pipeline("flows.crm.sample_flows", "long_haul", ("sample",)),
    "heartbeat": Pipeline("flows.crm.sample_flows", "heartbeat", ("sample",)),
}


class Refused(Exception):
    """Nothing more can be published; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for, for every deployment alike."""

    pool: str
    queue: str
    tags: tuple[str, ...]
    prefix: str
    working_directory: str


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parser().parse_args(arguments)
    options = Options(asked.pool, asked.queue, tuple(asked.tag), asked.prefix, asked.working_directory)
    try:
        publish(asked.only or list(PIPELINES), options)
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m flows.deploy", description=__doc__)
    found.add_argument("--pool", default=DEFAULT_POOL, help="work pool; made as a process pool when it is missing")
    found.add_argument("--queue", default="default", help="work queue of the pool")
    found.add_argument("--tag", action="append", default=[], help="a tag for every deployment; may be repeated")
    found.add_argument("--only", action="append", choices=list(PIPELINES), help="publish this one; may be repeated")
    found.add_argument("--prefix", default="", help="put this before the name of every deployment")
    found.add_argument(
        "--working-directory",
        default=str(HOME) if Path.cwd() == HOME else "",
        help="folder in which the runs work, on the worker's machine; by default the current one when it is the one "
        "that holds the pipelines, else none. An empty text means none: then the worker needs CRM_LAKE.",
    )
    return found


def publish(names: Sequence[str], options: Options) -> None:
    """Create or update one deployment per name, and print what changed of each."""
    if not PREFECT_API_URL.value():
        # Without an address Prefect would start a server of its own, and publish into it.
        raise Refused("Set PREFECT_API_URL to the API of a Prefect server, such as http://127.0.0.1:4200/api.")
    with get_client(httpx_settings={"timeout": PATIENCE}, sync_client=True) as client:
        _require_server(client)
        try:
            print(f"Work pool {options.pool}: {_ensure_pool(client, options.pool)}")
            for name in names:
                wanted = describe(PIPELINES[name], options)
                print(f"{name}/{options.prefix}{name}: {_put(client, name, options.prefix + name, wanted)}")
        except PrefectHTTPStatusError as error:
            raise Refused(_explain(error)) from None


def describe(pipeline: Pipeline, options: Options) -> dict[str, Any]:
    """What publishing decides of a deployment; pause, schedules, defaults and limits are left to operations."""
    flow: Flow[..., Any] = getattr(importlib.import_module(pipeline.module), pipeline.function)
    step = {"prefect.deployments.steps.set_working_directory": {"directory": options.working_directory}}
    return {
        "version": version(pipeline),
        "description": (flow.description or "").partition("\n\nArgs:")[0],
        "tags": sorted({*pipeline.tags, *options.tags}),
        "entrypoint": pipeline.entrypoint,
        "work_pool_name": options.pool,
        "work_queue_name": options.queue,
        "pull_steps": [step] if options.working_directory else [],
        "enforce_parameter_schema": True,
        "parameter_openapi_schema": parameter_schema(flow).model_dump_for_openapi(),
    }


def version(pipeline: Pipeline) -> str:
    """The version of the product and a digest of the code: it changes when, and only when, the pipeline does."""
    digest = hashlib.sha256()
    modules = {name for start in (pipeline.module, *pipeline.programs) for name in _modules_of(start, set())}
    for module in sorted(modules):
        digest.update(module.encode() + b"\0" + _file(module).read_bytes() + b"\0")
    return f"{_product_version()}+{digest.hexdigest()[:10]}"


def _put(client: SyncPrefectClient, flow_name: str, name: str, wanted: dict[str, Any]) -> str:
    try:
        found = client.read_deployment_by_name(f"{flow_name}/{name}")
    except ObjectNotFound:
        client.create_deployment(flow_id=client.create_flow_from_name(flow_name), name=name, **wanted)
        return f"created, version {wanted['version']}"
    there = found.model_dump(mode="json")
    there["tags"] = sorted(there["tags"])
    changed = [field for field, value in wanted.items() if _plain(there[field] or type(value)()) != _plain(value)]
    if not changed:
        return "unchanged"
    sent = {*changed, "work_pool_name", "work_queue_name"}  # a queue is found by both
    # Not created again: that would delete the schedules that operations staff gave it.
    client.update_deployment(found.id, DeploymentUpdate(**{field: wanted[field] for field in sent}))
    told = [f"version {there['version']} -> {wanted['version']}" if field == "version" else field for field in changed]
    return f"updated: {', '.join(told)}"


def _plain(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _ensure_pool(client: SyncPrefectClient, name: str) -> str:
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=name, type=ProcessWorker.type, base_job_template=template))
        return f"created; start a worker with `prefect worker start --pool {name}`"
    return f"there, of type {pool.type}"


def _require_server(client: SyncPrefectClient) -> None:
    trouble = client.api_healthcheck()
    if trouble is not None and not isinstance(trouble, PrefectHTTPStatusError):
        kind = type(trouble).__name__
        raise Refused(f"No Prefect server answers at {_address()} ({kind}): start it, or correct PREFECT_API_URL.")
    try:
        client.api_version()
    except PrefectHTTPStatusError as error:
        raise Refused(_explain(error)) from None
    except ValueError:
        # Prefect's web pages answer anything with a page.
        raise Refused(f"{_address()} is not the API of a Prefect server: PREFECT_API_URL must end in /api.") from None


REASONS = {
    401: "The Prefect server at {address} refuses the credentials: correct PREFECT_API_AUTH_STRING or PREFECT_API_KEY.",
    403: "The Prefect server at {address} does not let these credentials publish: use ones that may.",
    404: "{address} is not the API of a Prefect server: PREFECT_API_URL must end in /api.",
}


def _explain(error: PrefectHTTPStatusError) -> str:
    """Never with the body of the answer: it may repeat what was sent."""
    status = error.response.status_code
    other = "The Prefect server at {address} answered {status} to {method} {path}: its log says why."
    return REASONS.get(status, other).format(
        address=_address(), status=status, method=error.request.method, path=error.request.url.path
    )


def _address() -> str:
    """Without the user and password that an address may carry."""
    parts = urlsplit(str(PREFECT_API_URL.value()))
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _file(module: str) -> Path:
    path = HOME.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _modules_of(module: str, seen: set[str]) -> set[str]:
    """The module and those of the package that it imports, however indirectly; found by reading, not by importing."""
    if module not in seen and _file(module).is_file():
        seen.add(module)
        for name in _imports(ast.parse(_file(module).read_bytes())):
            if name.startswith(f"{module.rpartition('.')[0]}."):
                _modules_of(name, seen)
    return seen


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _product_version() -> str:
    """From the checkout when there is one: an installed copy may be of another day."""
    project = HOME / "pyproject.toml"
    if project.is_file():
        found = tomllib.loads(project.read_text()).get("project", {})
        if found.get("name") == DISTRIBUTION:
            return str(found["version"])
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "0"


if __name__ == "__main__":
    sys.exit(main())

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
TIMEOUT = 15.0  # seconds for one response of the server


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Where a flow is defined, and the tags of its deployment."""

    module: str
    function: str
    tags: tuple[str, ...]

    @property
    def entrypoint(self) -> str:
        """By module, not by path: a path entrypoint puts its folder first on `sys.path` of the worker for good."""
        return f"{self.module}:{self.function}"


# By the name of the flow, which is also the name of its deployment.
PIPELINES: dict[str, Pipeline] = {
    "crm-data-acquisition": Pipeline("flows.crm.acquisition", "crm_data_acquisition", ("crm",)),
    "crm-data-ingestion": Pipeline("flows.crm.ingestion", "crm_data_ingestion", ("crm",)),
    "monthly-win-probability-training": Pipeline("flows.crm.training", "monthly_win_probability_training", ("crm",)),
    "reference-data-creation": Pipeline("flows.crm.reference", "reference_data_creation", ("crm",)),
    "open-deal-scoring": Pipeline("flows.crm.scoring", "open_deal_scoring", ("crm",)),
    "model-drift-monitoring": Pipeline("flows.crm.drift_monitoring", "model_drift_monitoring", ("crm",)),
    "crm-data-cleanup": Pipeline("flows.crm.cleanup", "crm_data_cleanup", ("crm",)),
    "every-parameter-kind": Pipeline("flows.crm.every_kind", "every_parameter_kind", ("sample",)),
    "long-haul": Pipeline("flows.crm.sample_flows", "long_haul", ("sample",)),
    "heartbeat": Pipeline("flows.crm.sample_flows", "heartbeat", ("sample",)),
}


class Refused(Exception):
    """Publishing stops; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Options:
    """The command line's choices, the same for every deployment."""

    pool: str
    queue: str
    tags: tuple[str, ...]
    prefix: str
    working_directory: str


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = parser().parse_args(arguments)
    options = Options(chosen.pool, chosen.queue, tuple(chosen.tag), chosen.prefix, chosen.working_directory)
    try:
        publish(chosen.only or list(PIPELINES), options)
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m flows.deploy", description=__doc__)
    result.add_argument("--pool", default=DEFAULT_POOL, help="work pool; created as a process pool if missing")
    result.add_argument("--queue", default="default", help="work queue of the pool")
    result.add_argument("--tag", action="append", default=[], help="tag for every deployment; repeatable")
    result.add_argument(
        "--only", action="append", choices=list(PIPELINES), help="publish only this pipeline; repeatable"
    )
    result.add_argument("--prefix", default="", help="prefix of every deployment's name")
    result.add_argument(
        "--working-directory",
        default=str(HOME) if Path.cwd() == HOME else "",
        help="working directory of the runs on the worker; default: the current folder if it contains the pipelines, "
        "else none. An empty value means none: the worker then needs CRM_LAKE.",
    )
    return result


def publish(names: Sequence[str], options: Options) -> None:
    """Create or update one deployment per name, and print what changed. Raises `Refused`."""
    if not PREFECT_API_URL.value():
        # Without a URL Prefect would start a temporary server and publish to that.
        raise Refused("Set PREFECT_API_URL to the API of a Prefect server, such as http://127.0.0.1:4200/api.")
    with get_client(httpx_settings={"timeout": TIMEOUT}, sync_client=True) as client:
        _require_server(client)
        try:
            print(f"Work pool {options.pool}: {_ensure_pool(client, options.pool)}")
            for name in names:
                wanted = desired_fields(PIPELINES[name], options)
                print(f"{name}/{options.prefix}{name}: {_upsert(client, name, options.prefix + name, wanted)}")
        except PrefectHTTPStatusError as error:
            raise Refused(_explain(error)) from None


def desired_fields(pipeline: Pipeline, options: Options) -> dict[str, Any]:
    """Return the fields that publishing sets. Pause, schedules, defaults and limits are left to operations."""
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
    """Return the product's version and a digest of the code: it changes when, and only when, the pipeline does."""
    # The digest covers every module that the pipeline imports, so that a fix in a shared module is a new version.
    digest = hashlib.sha256()
    for module in sorted(_modules_of(pipeline.module, set())):
        digest.update(module.encode() + b"\0" + _file(module).read_bytes() + b"\0")
    return f"{_product_version()}+{digest.hexdigest()[:10]}"


def _upsert(client: SyncPrefectClient, flow_name: str, name: str, wanted: dict[str, Any]) -> str:
    """Create the deployment, or update the fields that differ; return what was done, for the user."""
    # 1. Create it if it is new.
    try:
        found = client.read_deployment_by_name(f"{flow_name}/{name}")
    except ObjectNotFound:
        client.create_deployment(flow_id=client.create_flow_from_name(flow_name), name=name, **wanted)
        return f"created, version {wanted['version']}"
    # 2. Compare. Prefect returns null for some fields that were sent empty, and tags in any order.
    current = found.model_dump(mode="json")
    current["tags"] = sorted(current["tags"])
    changed = [field for field, value in wanted.items() if _plain(current[field] or type(value)()) != _plain(value)]
    if not changed:
        return "unchanged"
    sent = {*changed, "work_pool_name", "work_queue_name"}  # Prefect finds a queue by both names
    # 3. Update it. Creating it again would delete its schedules, which belong to operations.
    client.update_deployment(found.id, DeploymentUpdate(**{field: wanted[field] for field in sent}))
    changes = [
        f"version {current['version']} -> {wanted['version']}" if field == "version" else field for field in changed
    ]
    return f"updated: {', '.join(changes)}"


def _plain(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _ensure_pool(client: SyncPrefectClient, name: str) -> str:
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=name, type=ProcessWorker.type, base_job_template=template))
        return f"created; start a worker with `prefect worker start --pool {name}`"
    return f"exists, type {pool.type}"


def _require_server(client: SyncPrefectClient) -> None:
    """Raise `Refused` unless the URL is a Prefect API that accepts the credentials."""
    error = client.api_healthcheck()
    if error is not None and not isinstance(error, PrefectHTTPStatusError):
        kind = type(error).__name__
        raise Refused(f"Connection to {_address()} failed ({kind}): start the server, or correct PREFECT_API_URL.")
    # The health check answers without credentials; the version does not.
    try:
        client.api_version()
    except PrefectHTTPStatusError as error:
        raise Refused(_explain(error)) from None
    except ValueError:
        # Without /api the URL leads to the Prefect UI, which answers any path with a page.
        raise Refused(f"{_address()} is not the API of a Prefect server: PREFECT_API_URL must end in /api.") from None


REASONS = {
    401: "Authentication failed (401) at {address}: correct PREFECT_API_AUTH_STRING or PREFECT_API_KEY.",
    403: "Permission denied (403) at {address}: use credentials that may publish deployments.",
    404: "{address} is not the API of a Prefect server: PREFECT_API_URL must end in /api.",
}


def _explain(error: PrefectHTTPStatusError) -> str:
    """Return the message of an HTTP error, without the response's body: it may echo the request."""
    status = error.response.status_code
    other = "{method} {path} failed ({status}) at {address}: see the log of the Prefect server."
    return REASONS.get(status, other).format(
        address=_address(), status=status, method=error.request.method, path=error.request.url.path
    )


def _address() -> str:
    """Return PREFECT_API_URL without the user and password that it may contain."""
    parts = urlsplit(str(PREFECT_API_URL.value()))
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _file(module: str) -> Path:
    path = HOME.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _modules_of(module: str, seen: set[str]) -> set[str]:
    """Return the module and those of its package that it imports, directly or not, found by reading the source."""
    if module not in seen and _file(module).is_file():
        seen.add(module)
        for name in _imports(ast.parse(_file(module).read_bytes())):
            # Only the same package: the rest of the product may change without a new version of the pipelines.
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
    """Return the version in the checkout if there is one: installed metadata may be older."""
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

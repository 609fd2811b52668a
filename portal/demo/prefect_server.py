"""A Prefect server with a password and its own database, and the worker that runs its flows."""

import base64
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import httpx

from portal.demo.processes import ROOT, Program, inherited_environment

# Prefect's defaults, ten and thirty seconds, are for hundreds of workers.
QUICK_WORKER = {"PREFECT_WORKER_QUERY_SECONDS": "2", "PREFECT_WORKER_HEARTBEAT_SECONDS": "10"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefectServer:
    """One Prefect server on this machine."""

    name: str
    port: int
    auth: str = field(repr=False)  # user:password
    database: str = field(repr=False)  # for asyncpg
    home: Path
    logs: Path
    has_pages: bool = True
    python: str = sys.executable  # whose Prefect it is; tests also start other versions

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        return f"{self.address}/api"

    @property
    def server_name(self) -> str:
        return f"Prefect server ({self.name})"

    def server(self) -> Program:
        return Program(
            name=self.server_name,
            command=(
                *(self.python, "-m", "prefect", "server", "start"),
                *("--host", "127.0.0.1", "--port", str(self.port)),
            ),
            log=self.logs / f"prefect-{self.name}.log",
            environment=self._shared()
            | {
                "PREFECT_SERVER_API_AUTH_STRING": self.auth,
                "PREFECT_SERVER_DATABASE_CONNECTION_URL": self.database,
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                # Announces each log line, so that the follower need not wait for its next look.
                "PREFECT_SERVER_LOGS_STREAM_OUT_ENABLED": "true",
                "PREFECT_SERVER_LOGS_STREAM_PUBLISHING_ENABLED": "true",
                "PREFECT_SERVER_UI_ENABLED": str(self.has_pages).lower(),
                "PREFECT_SERVER_UI_API_URL": self.api_url,
                # The pages are rewritten for their address: two servers must not share one copy.
                "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(self.home / "pages"),
                "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            },
            ready=self.answers,
            waits_for=f"an answer at {self.api_url}",
            patience=300,
            grace=4,
        )

    def worker(self, pool: str, *, settings: Mapping[str, str] = MappingProxyType({})) -> Program:
        """Return a process worker for the pool, which it creates if it does not exist yet."""
        name = f"{self.name}-worker"
        created = time.time()

        def ready() -> bool:
            return self._worker_is_online(pool, name, since=created)

        return Program(
            name=f"Prefect worker ({self.name})",
            command=(
                *(self.python, "-m", "prefect", "worker", "start"),
                *("--pool", pool, "--type", "process", "--name", name, "--install-policy", "never"),
            ),
            log=self.logs / f"worker-{self.name}.log",
            environment=self.client() | QUICK_WORKER | dict(settings),
            ready=ready,
            waits_for=f"its first heartbeat in the work pool {pool}",
            grace=4,
        )

    def client(self) -> dict[str, str]:
        """Return the environment of a program that uses Prefect's client with this server."""
        return self._shared() | {"PREFECT_API_URL": self.api_url, "PREFECT_API_AUTH_STRING": self.auth}

    def answers(self) -> bool:
        # Not /health: it needs no password, so another server on this port would pass for this one.
        try:
            return self._call("GET", "/admin/version").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def _worker_is_online(self, pool: str, name: str, *, since: float) -> bool:
        try:
            answer = self._call("POST", f"/work_pools/{pool}/workers/filter", {})
            workers = answer.json() if answer.is_success else []
        except httpx.HTTPError:
            return False
        # A heartbeat since the start: the worker of an earlier start has the same name.
        earliest = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since))
        return any(worker["name"] == name and worker["last_heartbeat_time"] >= earliest for worker in workers)

    def _call(self, method: str, path: str, body: object = None) -> httpx.Response:
        password = base64.b64encode(self.auth.encode()).decode()
        return httpx.request(
            method,
            f"{self.api_url}{path}",
            json=body,
            headers={"Authorization": f"Basic {password}"},
            timeout=2,
            trust_env=False,
        )

    def _shared(self) -> dict[str, str]:
        return inherited_environment() | {
            "PREFECT_HOME": str(self.home),
            "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
            "PREFECT_CLI_COLORS": "false",
            "DO_NOT_TRACK": "1",
            # Flow runs import the flows from here, wherever their process is started.
            "PYTHONPATH": str(ROOT),
        }

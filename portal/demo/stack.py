"""The whole product on one machine: which parts there are, in which order they start, and with which settings."""

import dataclasses
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import httpx
import psycopg

from portal.demo import postgres
from portal.demo.data_dir import DataFolder, fernet_key, token_pepper
from portal.demo.ports import next_free
from portal.demo.postgres import Embedded, Server
from portal.demo.prefect_server import PrefectServer
from portal.demo.processes import ROOT, NotStarted, Program, Reaper, chosen_settings, inherited_environment
from portal.demo.supervisor import Part, Supervisor
from portal.demo.watchdogs import HeartbeatWatch, QueueWatch

PREFECT_PORT = 4200
WORK_POOL = "portal-pool"
MIGRATE, CLOCK, WEB = "Database migrations", "Periodic tasks", "Web"
BACKGROUND, FOLLOWER = "Background tasks", "Event follower"
STORY = "Story"
DRIFT = (
    "0.9"  # the drift of the demo's generated data in its last month, so that model monitoring has something to show
)
UNSYNCED = """
    SELECT environment.slug
    FROM flows_environment AS environment
    LEFT JOIN flows_health AS health ON health.server_id = environment.server_id
    WHERE environment.slug = ANY(%s) AND coalesce(health.synced_at < to_timestamp(%s), true)
    ORDER BY environment.position
"""


class Account(TypedDict):
    name: str
    password: str
    may: str


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a stack. Port 0 is any free port."""

    data: Path
    port: int = 8000
    prefect_port: int = PREFECT_PORT
    environments: Sequence[str] = ("dev", "prod")
    story: bool = False  # whether the first environment gets sample data of several months
    database: str = field(default="", repr=False)  # as DATABASE_URL; empty for an embedded Postgres


class Stack:
    """Postgres, the Prefect servers with a worker each, the web process, the background tasks and the follower."""

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        self.folder = DataFolder(options.data)
        self.started = time.monotonic()
        self._began_at = time.time()
        self._options = options
        self._say = say
        self._ports: set[int] = set()
        self._embedded: Embedded | None = None
        # The order matters: the lock ends what an earlier stack left behind, which frees its ports for this one.
        self._lock = self.folder.take()
        self._reaper = Reaper(str(self.folder.path), keep_open=(self._lock,))
        self.supervisor = Supervisor([], self._reaper, say)
        try:
            self.server = self._postgres()
            self.address = f"http://127.0.0.1:{self._port(options.port, 'the portal')}/"
            self.prefects = [self._prefect(name, index) for index, name in enumerate(options.environments)]
            self.settings = self._portal_settings()
        except NotStarted:
            self.stop()
            raise

    def start(self) -> bool:
        """Start all that the first environment needs; `watch` starts the rest.

        Two Prefect servers at once would delay the first page by half. Returns False if a stop was requested meanwhile.
        Raises `NotStarted`.
        """
        # 1. Postgres, if it is ours, and the databases.
        if not self.supervisor.start():
            return False
        self.server.create(self.server.main_database)
        self._refuse_other_peoples_database()
        self.server.create(*(self._database(prefect.name) for prefect in self.prefects))
        # 2. The first layer; the others are known to the supervisor and wait for their turn.
        first, *others = self._layers()
        self.supervisor.add(*first)
        self.supervisor.add(*(part for layer in others for part in layer))
        if not self.supervisor.start(*(part.name for part in first)):
            return False
        # 3. Only now: a command in another terminal needs the migrated database.
        self.folder.publish(self.settings)
        return True

    def stop(self) -> None:
        """Stop everything. The reaper releases the lock of the data folder when the last process has ended."""
        self.folder.withdraw()
        self.supervisor.stop()
        self._reaper.dismiss()
        if self._embedded:
            self._embedded.forget_socket()
        os.close(self._lock)

    def accounts(self) -> list[Account]:
        """Return the demo accounts, as `demo_cast` printed them."""
        printed = self._accounts_log(self.prefects[0]).read_text().splitlines()
        found: list[Account] = json.loads(next(line for line in reversed(printed) if line.startswith("[")))
        return found

    @property
    def has_story(self) -> bool:
        return self._options.story

    def unsynced(self, *names: str) -> list[str]:
        """Return those of the environments that were not synced since this start."""
        with psycopg.connect(self.settings["DATABASE_URL"], connect_timeout=5) as connection:
            return [slug for (slug,) in connection.execute(UNSYNCED, [list(names), self._began_at]).fetchall()]

    def manage(self, *arguments: str) -> tuple[str, ...]:
        return (sys.executable, str(ROOT / "manage.py"), *arguments)

    def environment(self) -> dict[str, str]:
        """Return the environment of the portal's processes."""
        return inherited_environment() | self.settings

    def _postgres(self) -> Server:
        if address := self._options.database:
            self._say("Postgres … using DATABASE_URL")
            return Server(address)
        options = ("-c", "log_min_messages=warning")
        self._embedded = Embedded(self.folder.path / "postgres", self.folder.logs / "postgres.log", options=options)
        server = self._embedded.prepare()
        self.supervisor.add(Part(self._embedded.program(server)))
        return server

    def _refuse_other_peoples_database(self) -> None:
        """Raise `NotStarted` for a database with a portal that this folder did not create."""
        # The demo adds accounts with published passwords: they must not get into a portal that is in use.
        if self._embedded:
            return
        # Remembered as a hash, because the address may hold a password.
        ours, mark = self.folder.path / "database", hashlib.sha256(self.server.address.encode()).hexdigest()
        if ours.exists() and ours.read_text() == mark:
            return
        with psycopg.connect(self.server.address, connect_timeout=5) as connection:
            if connection.execute("SELECT to_regclass('auth_user')").fetchone() != (None,):
                raise NotStarted(
                    "The database of DATABASE_URL already holds a portal, and a demo would add accounts with "
                    "well-known passwords to it. Name an empty database, or unset DATABASE_URL."
                )
        ours.write_text(mark)

    def _port(self, wanted: int, whose: str) -> int:
        port = next_free(wanted, but_not=self._ports)
        self._ports.add(port)
        if wanted and port != wanted:
            self._say(f"Port {wanted} is taken: {whose} uses {port}.")
        return port

    def _prefect(self, name: str, index: int) -> PrefectServer:
        wanted = self._options.prefect_port and self._options.prefect_port + index
        secret = self.folder.secret(f"prefect-{name}")
        return PrefectServer(
            name=name,
            port=self._port(wanted, f"the Prefect server of {name}"),
            auth=f"portal:{secret.read_text()}",
            database=self.server.asyncpg_url(self._database(name)),
            home=self.folder.path / "prefect" / name,
            logs=self.folder.logs,
        )

    def _database(self, environment: str) -> str:
        # On a shared server the portal's name keeps two demos apart.
        own = "prefect" if self._embedded else f"{self.server.main_database}_prefect"
        return f"{own}_{environment}"

    def _portal_settings(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.server.url(self.server.main_database),
            "PORTAL_MODE": "demo",
            "PORTAL_SECRET_KEY_FILE": str(self.folder.secret("secret-key")),
            "PORTAL_FIELD_KEYS_FILE": str(self.folder.secret("field-key", fernet_key)),
            "PORTAL_AUDIT_KEYS_FILE": str(self.folder.secret("audit-key")),
            "PORTAL_TOKEN_PEPPERS_FILE": str(self.folder.secret("token-pepper", token_pepper)),
            "PORTAL_PUBLIC_URL": self.address.rstrip("/"),
            # For `python -m portal.ops.probe follower` in another terminal; only the follower writes it.
            "PORTAL_HEARTBEAT": str(self.folder.path / "follower.beat"),
            **chosen_settings(),
        }

    def _layers(self) -> list[list[Part]]:
        """Return the parts by layer: the portal with the first environment, then each further one, then the story."""
        # 1. The portal. Everything needs the migrations.
        base = (postgres.NAME,) if self._embedded else ()
        queue = QueueWatch(self.settings["DATABASE_URL"])
        heartbeat = HeartbeatWatch(Path(self.settings["PORTAL_HEARTBEAT"]))
        layer = [
            Part(self._command(MIGRATE, "migrate", "--verbosity", "1"), base),
            Part(self._command(CLOCK, "sync_periodic"), (MIGRATE,)),
            Part(self._web(), (MIGRATE,)),
            Part(self._service(BACKGROUND, "qcluster", says="Running."), (MIGRATE,), problem=queue.problem),
            Part(self._service(FOLLOWER, "follow", says="Following."), (MIGRATE,), problem=heartbeat.problem),
        ]
        # 2. Each environment: its deployments need the server, its worker must not create the pool before them, and its
        #    account comes last, because it queues the first sync.
        layers: list[list[Part]] = []
        before: tuple[str, ...] = ()
        for index, prefect in enumerate(self.prefects):
            publish, accounts, worker = self._publish(prefect), self._accounts(index), self._worker(prefect)
            layer += [
                Part(prefect.server(), base, before),
                Part(publish, (prefect.server_name,)),
                Part(worker, (prefect.server_name,), (publish.name,)),
                Part(accounts, (MIGRATE,), (worker.name,)),
            ]
            layers.append(layer)
            layer, before = [], (accounts.name,)
        # 3. The sample data, after every environment is up.
        if self._options.story:
            layers.append([self._story(before)])
        return layers

    def _command(self, name: str, *arguments: str) -> Program:
        log = self.folder.logs / f"{arguments[0].replace('_', '-')}.log"
        return Program(name=name, command=self.manage(*arguments), log=log, environment=self.environment())

    def _service(self, name: str, command: str, *, says: str) -> Program:
        return dataclasses.replace(self._command(name, command), ready=says, waits_for=f"the line {says!r} in its log")

    def _web(self) -> Program:
        port = str(httpx.URL(self.address).port)

        def ready() -> bool:
            try:
                return httpx.get(f"{self.address}admin/login/", timeout=5, trust_env=False).is_success
            except httpx.HTTPError:
                return False

        return Program(
            name=WEB,
            command=(
                *(sys.executable, "-m", "uvicorn", "portal.asgi:application", "--host", "127.0.0.1", "--port", port),
                # Otherwise open event streams would block the stop for ever.
                *("--timeout-graceful-shutdown", "3", "--no-server-header"),
            ),
            log=self.folder.logs / "web.log",
            environment=self.environment() | {"PORTAL_PROCESS": "web"},
            ready=ready,
            waits_for=f"the sign-in page at {self.address}",
        )

    def _publish(self, prefect: PrefectServer) -> Program:
        return Program(
            name=f"Pipelines ({prefect.name})",
            command=(sys.executable, "-m", "flows.deploy", "--pool", WORK_POOL),
            log=self.folder.logs / f"pipelines-{prefect.name}.log",
            environment=prefect.client(),
        )

    def _worker(self, prefect: PrefectServer) -> Program:
        # Each environment has data of its own.
        lake = os.environ.get("CRM_LAKE") or str(self.folder.path / "lake" / prefect.name)
        return prefect.worker(WORK_POOL, settings={"CRM_LAKE": lake, "CRM_DRIFT": os.environ.get("CRM_DRIFT", DRIFT)})

    def _story(self, after: tuple[str, ...]) -> Part:
        """Return the part that loads sample data while the demo is already usable. Nothing waits for it."""
        command = self._command(STORY, "demo_story", "--environment", self.prefects[0].name)
        return Part(dataclasses.replace(command, patience=1800.0), (BACKGROUND, MIGRATE), after)

    def _accounts(self, index: int) -> Program:
        """Return the command that creates environments and accounts. It queues the first sync, so it comes last."""
        prefect, known = self.prefects[index], self.prefects[: index + 1]
        pairs = [argument for it in known for argument in ("--environment", f"{it.name}={it.api_url}")]
        log = self._accounts_log(prefect)
        log.unlink(missing_ok=True)
        return Program(
            name=f"Accounts ({prefect.name})",
            command=self.manage("demo_cast", *pairs, "--tokens", str(self.folder.tokens)),
            log=log,
            environment=self.environment() | {f"PORTAL_DEMO_AUTH_{it.name.upper()}": it.auth for it in known},
        )

    def _accounts_log(self, prefect: PrefectServer) -> Path:
        return self.folder.logs / f"accounts-{prefect.name}.log"


def await_first_sync(stack: Stack, *names: str, patience: float = 60.0) -> list[str]:
    """Keep the stack running until these environments are synced; return those that were not in time."""
    deadline = time.monotonic() + patience
    stack.supervisor.watch(until=lambda: time.monotonic() > deadline or not stack.unsynced(*names))
    return [] if stack.supervisor.stopping else stack.unsynced(*names)

"""What it costs to show changes of the list of runs to many people at once.

Every viewer is a person of their own, with their own grants and an open event stream of the list. Runs change at a
steady rate; measured is the time from the commit of a change until each viewer has the row, and the processor time of
the web process. Beside it, in the same run: the page of a viewer as a whole, which is what each change cost before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import socket
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django

django.setup()

import httpx  # noqa: E402  (Django has to be set up first)
from django.conf import settings  # noqa: E402
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import transaction  # noqa: E402

from flows.models import Deployment, Environment, Server  # noqa: E402
from portal.auth.browser_sessions import SessionStore  # noqa: E402
from runs.change_feed import publish  # noqa: E402
from runs.models import Grant, Run  # noqa: E402

RESULT = Path(__file__).parent / "viewers.json"
FILTERS = ("", "state=active", "environment=dev", "state=FAILED&state=CRASHED", "q=flow-3")
STATES = ("PENDING", "RUNNING", "COMPLETED", "FAILED")
TICK = os.sysconf("SC_CLK_TCK")


def fill(viewers: int, deployments: int, runs: int) -> list[User]:
    """Make what they look at, and people who see all of it, half of it or single deployments of it."""
    environment = Environment.objects.create(slug="dev", server=Server.objects.create(api_url="http://127.0.0.1:9/api"))
    made = Deployment.objects.bulk_create(
        Deployment(
            environment=environment,
            prefect_id=uuid.uuid4(),
            flow_id=uuid.uuid4(),
            name="nightly",
            flow_name=f"flow-{number}",
            full_name=f"flow-{number}/nightly",
            tags=["even" if number % 2 else "odd"],
            synced_at=datetime.now(UTC),
        )
        for number in range(deployments)
    )
    now = datetime.now(UTC)
    Run.objects.bulk_create(
        Run(
            environment=environment,
            deployment=deployment,
            access_deployment=deployment,
            prefect_id=uuid.uuid4(),
            name=f"run-{number}",
            flow_name=deployment.flow_name,
            deployment_name=deployment.full_name,
            state_type="COMPLETED",
            created_upstream_at=now - timedelta(seconds=number),
            synced_at=now,
            detailed_at=now,
        )
        for number in range(runs)
        for deployment in [made[number % deployments]]
    )
    people = [User.objects.create_user(f"viewer-{number}", is_staff=True) for number in range(viewers)]
    for number, person in enumerate(people):
        scopes: list[dict[str, Any]] = [{}, {"tag": "odd"}, {"full_name": made[number % deployments].full_name}]
        Grant.objects.create(
            person=person,
            environment=environment,
            verbs=["see"],
            effect="allow",
            granted_by_name="",
            **scopes[number % 3],
        )
    return people


def session_of(person: User) -> str:
    session = SessionStore()
    session[SESSION_KEY] = str(person.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = person.get_session_auth_hash()
    session.create()
    return str(session.session_key)


class Watch:
    """When each change was made, and when who had it."""

    def __init__(self) -> None:
        self.made: dict[int, float] = {}
        self.seconds: list[float] = []
        self.events = self.nudges = 0

    async def follow(self, client: httpx.AsyncClient, key: str, query: str, ready: asyncio.Event) -> None:
        address = "/admin/live/"
        cookies = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={key}"}
        parameters = {"list": "runs", "shows": query}
        async with client.stream("GET", address, params=parameters, headers=cookies) as answer:
            answer.raise_for_status()
            name = ""
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                    if name == "ready":
                        ready.set()
                    self.nudges += name == "nudge"
                elif line.startswith("data: ") and name == "rows":
                    self.note(json.loads(line.removeprefix("data: ")))

    def note(self, data: dict[str, Any]) -> None:
        self.events += 1
        now = time.monotonic()
        for row in data["rows"]:
            if made := self.made.get(row["key"]):
                self.seconds.append(now - made)


async def change(watch: Watch, keys: list[int], *, rate: float, seconds: float) -> int:
    """Change one run after the other; return how many."""
    began, number = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        pk = keys[number % len(keys)]
        watch.made[pk] = time.monotonic()
        await asyncio.to_thread(move, pk, STATES[number % len(STATES)])
        number += 1
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
    return number


def move(pk: int, state: str) -> None:
    with transaction.atomic():
        Run.objects.filter(pk=pk).update(state_type=state, state_name=state.title())
        publish("run", [pk])


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] if values else 0.0


async def watch_them(address: str, pid: int, people: list[User], options: argparse.Namespace) -> dict[str, Any]:
    watch = Watch()
    keys = list(await asyncio.to_thread(lambda: list(Run.objects.values_list("pk", flat=True)[:400])))
    sessions = [await asyncio.to_thread(session_of, person) for person in people]
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=address, timeout=httpx.Timeout(60, read=120), limits=limits, trust_env=False
    ) as client:
        # 1. What each change cost before: the page of one viewer as a whole.
        cookie = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={sessions[0]}"}
        await client.get("/admin/runs/run/", headers=cookie)
        before = processor_seconds(pid)
        for _ in range(20):
            (await client.get("/admin/runs/run/", headers=cookie | {"X-Portal-Live": "1"})).raise_for_status()
        page_seconds = (processor_seconds(pid) - before) / 20
        # 2. All viewers, nothing happens.
        ready = [asyncio.Event() for _ in sessions]
        streams = [
            asyncio.create_task(watch.follow(client, key, FILTERS[number % len(FILTERS)], ready[number]))
            for number, key in enumerate(sessions)
        ]
        await asyncio.gather(*(event.wait() for event in ready))
        await asyncio.sleep(3)
        before, began = processor_seconds(pid), time.monotonic()
        await asyncio.sleep(options.seconds / 4)
        idle = (processor_seconds(pid) - before) / (time.monotonic() - began)
        # 3. Runs change.
        watch.nudges = 0
        before, began = processor_seconds(pid), time.monotonic()
        changes = await change(watch, keys, rate=options.rate, seconds=options.seconds)
        await asyncio.sleep(1)
        busy = (processor_seconds(pid) - before) / (time.monotonic() - began)
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
    return {
        "viewers": len(people),
        "changes a second": options.rate,
        "changes": changes,
        "events": watch.events,
        "rows received": len(watch.seconds),
        "nudges": watch.nudges,
        "share of a core, idle": round(idle, 3),
        "share of a core, changing": round(busy, 3),
        "page as a whole, processor ms": round(page_seconds * 1000, 1),
        "change until row, ms": {
            name: round(quantile(watch.seconds, share) * 1000)
            for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument("--rate", type=float, default=5.0, help="changes a second")
    parser.add_argument("--seconds", type=float, default=40.0)
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    people = fill(options.viewers, deployments=30, runs=2000)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "portal.asgi:application",
        "--port",
        str(port),
        "--log-level",
        "warning",
    ]
    web = subprocess.Popen(command, env=os.environ | {"PORTAL_PROCESS": "web"})
    try:
        address = f"http://127.0.0.1:{port}"
        while True:
            try:
                httpx.get(f"{address}/health/live", trust_env=False, timeout=5).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.2)
        found = asyncio.run(watch_them(address, web.pid, people, options))
    finally:
        web.terminate()
        web.wait(20)
    found["machine"] = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"
    print(json.dumps(found, indent=2))
    RESULT.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

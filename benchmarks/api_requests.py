"""How long a program waits until its request is accepted: `python -m benchmarks.api_requests` starts the whole product.

By turns on one stack: requests over the REST API, with tokens, at 1, 8 and 32 clients at once; flow runs created in
Prefect alone by as many; and, one at a time, `prefect deployment run` as a process. The work pool is paused, so that no
run of one turn slows the next.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import django
import httpx
from django.utils import timezone

from benchmarks.latency import Prefect
from portal.demo.stack import WORK_POOL, Options, Stack, await_first_sync

RESULT = Path(__file__).parent / "api_requests.json"
DEPLOYMENT = "heartbeat"
CLIENTS = (1, 8, 32)
# A token may send 1,200 requests a minute: several together are not held up by that.
TOKENS = 64

type Send = Callable[[int], None]


def measure(send: Send, clients: int, seconds: float) -> dict[str, float]:
    """Send from so many clients at once for so long; return the wait of one in milliseconds, and how many a second."""
    numbers = count()
    waits: list[float] = []
    began = time.perf_counter()

    def client(_: int) -> None:
        while time.perf_counter() - began < seconds:
            sent = time.perf_counter()
            send(next(numbers))
            waits.append(time.perf_counter() - sent)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    passed = time.perf_counter() - began
    cuts = statistics.quantiles(waits, n=20) if len(waits) > 1 else [waits[0]] * 19
    return {
        "p50": round(statistics.median(waits) * 1000, 1),
        "p95": round(cuts[18] * 1000, 1),
        "a_second": round(len(waits) / passed, 1),
    }


def through_the_api(stack: Stack, tokens: list[str]) -> Send:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    http = httpx.Client(base_url=stack.address, timeout=60, limits=limits)
    body = {"environment": "dev", "deployment": f"{DEPLOYMENT}/{DEPLOYMENT}", "parameters": {}}

    def send(number: int) -> None:
        headers = {"Authorization": f"Bearer {tokens[number % TOKENS]}", "Idempotency-Key": str(uuid4())}
        http.post("api/v1/changes", json=body, headers=headers).raise_for_status()

    return send


def by_prefect_alone(prefect: Prefect, deployment: str) -> Send:
    def send(number: int) -> None:
        body: dict[str, Any] = {"parameters": {}, "idempotency_key": str(uuid4()), "tags": ["bench"]}
        prefect.post(f"/deployments/{deployment}/create_flow_run", body)

    return send


def by_command(stack: Stack) -> Send:
    command = [str(Path(sys.executable).parent / "prefect"), "deployment", "run", f"{DEPLOYMENT}/{DEPLOYMENT}"]
    server = stack.prefects[0]
    environment = os.environ | {"PREFECT_API_URL": server.api_url, "PREFECT_API_AUTH_STRING": server.auth}

    def send(number: int) -> None:
        subprocess.run(command, env=environment, check=True, capture_output=True)

    return send


def issued() -> list[str]:
    """Return the texts of tokens of the demo's operator."""
    # Imported here: Django reads the settings of the stack, which are known only now.
    from django.contrib.auth.models import User  # noqa: PLC0415

    from flows.models import Environment  # noqa: PLC0415
    from runs.actors import Actor, Channel  # noqa: PLC0415
    from runs.governance import tokens  # noqa: PLC0415
    from runs.models import TokenScope  # noqa: PLC0415

    otto, environment = User.objects.get(username="otto"), Environment.objects.get()
    by = Actor.person(otto, channel=Channel.COMMAND)
    ends = timezone.now() + timedelta(days=1)

    def issue(number: int) -> str:
        scope = TokenScope(verbs=["see", "trigger"], environment=environment)
        return tokens.issue(otto, by=by, name=f"bench {number}", scopes=[scope], expires_at=ends).text

    return [issue(number) for number in range(TOKENS)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6, help="of each measurement")
    options = parser.parse_args()
    os.environ.setdefault("PORTAL_MODE", "demo")
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="portal-bench-", ignore_cleanup_errors=True) as folder:
        stack = Stack(Options(data=Path(folder), port=0, prefect_port=0, environments=("dev",)), print)
        try:
            if not stack.start() or await_first_sync(stack):
                return 1
            os.environ |= {**stack.settings, "DJANGO_SETTINGS_MODULE": "portal.settings"}
            django.setup()
            logging.disable(logging.INFO)
            prefect = Prefect(stack.prefects[0])
            prefect.http.patch(f"/work_pools/{WORK_POOL}", json={"is_paused": True}).raise_for_status()
            ways = {
                "portal": through_the_api(stack, issued()),
                "prefect": by_prefect_alone(prefect, prefect.deployment(DEPLOYMENT)),
            }
            for _ in range(options.rounds):
                found: dict[str, Any] = {"command": measure(by_command(stack), 1, options.seconds * 2)}
                for clients in CLIENTS:
                    found |= {f"{way} {clients}": measure(send, clients, options.seconds) for way, send in ways.items()}
                rounds.append(found)
                print(json.dumps(found, indent=1), flush=True)
        except httpx.HTTPError as error:
            print(error)
            return 1
        finally:
            stack.stop()
    ratios = {"times as fast as the command": ratio(rounds, "command", "portal 1")} | {
        f"wait of Prefect alone, clients: {clients}": ratio(rounds, f"portal {clients}", f"prefect {clients}")
        for clients in CLIENTS
    }
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    RESULT.write_text(json.dumps({"machine": machine, "ratios": ratios, "rounds": rounds}, indent=2) + "\n")
    print(json.dumps(ratios, indent=2))
    return 0


def ratio(rounds: list[dict[str, Any]], one: str, other: str) -> float:
    """Return the median over the rounds of how many times as long as the other one of them waits."""
    return round(statistics.median(each[one]["p50"] / each[other]["p50"] for each in rounds), 2)


if __name__ == "__main__":
    sys.exit(main())

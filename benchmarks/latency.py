"""How long people wait: `python -m benchmarks.latency` starts the whole product, measures, and stops it.

Five questions, each answered as a distribution in milliseconds or as a share of a core:

- click: from the POST of the run form until Prefect has the flow run, and the same beyond Prefect's own answer time
- seen: from Prefect's answer to a state change, and from the time that Prefect gives the state, until the mirror in
  Postgres shows it, with the event follower up
- line: from Prefect's answer to a log line of an active run until Postgres has it, with the follower up
- unseen: seen with the follower stopped, when only the periodic sweep is left
- idle: the share of a core that the background processes need with 200 deployments while nothing happens
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg

from portal.demo.prefect_server import PrefectServer
from portal.demo.stack import BACKGROUND, FOLLOWER, Options, Stack, await_first_sync

RESULT = Path(__file__).parent / "latest.json"
PROMISES = {
    "click beyond Prefect p50": 300.0,
    "seen after the stamp p95": 1000.0,
    "line p95": 1000.0,
    "unseen max": 60_000.0,
}
# The deployments of the idle portal, for how many seconds it is watched, and the share of a core that it may need.
DEPLOYMENTS, WATCHED, IDLE = 200, 120, 0.01


class Prefect:
    """Prefect's API as a bench needs it."""

    def __init__(self, server: PrefectServer) -> None:
        user, _, password = server.auth.partition(":")
        self.http = httpx.Client(base_url=server.api_url, auth=(user, password), timeout=30, trust_env=False)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self.http.post(path, json=body)
        answer.raise_for_status()
        return answer.json()

    def deployment(self, name: str) -> str:
        return str(self.http.get(f"/deployments/name/{name}/{name}").raise_for_status().json()["id"])

    def add_deployments(self, number: int) -> None:
        flow = self.post("/flows/", {"name": "idle"})["id"]
        for each in range(number):
            self.post("/deployments/", {"name": f"idle-{each}", "flow_id": flow})

    def create(self, deployment: str) -> str:
        """A run that no worker takes: it is planned for tomorrow."""
        at = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": at}}
        body = {"state": state, "idempotency_key": str(uuid.uuid4())}
        return str(self.post(f"/deployments/{deployment}/create_flow_run", body)["id"])

    def set_state(self, flow_run: str, state: str) -> datetime:
        """Return the time that Prefect gives the state."""
        body = {"state": {"type": state}, "force": True}
        return datetime.fromisoformat(self.post(f"/flow_runs/{flow_run}/set_state", body)["state"]["timestamp"])

    def log(self, flow_run: str, message: str) -> None:
        line = {"name": "bench", "level": 20, "timestamp": datetime.now(UTC).isoformat(), "flow_run_id": flow_run}
        self.http.post("/logs/", json=[line | {"message": message}]).raise_for_status()


class Person:
    """Somebody signed in with a browser's manners."""

    def __init__(self, address: str, name: str, password: str) -> None:
        self.http = httpx.Client(base_url=address, timeout=30, trust_env=False, follow_redirects=False)
        self.send("admin/login/", {"username": name, "password": password})

    def form(self, path: str) -> dict[str, str]:
        """Every hidden field of a page's forms."""
        page = self.http.get(path).raise_for_status().text
        hidden = re.findall(r'<input[^>]*type="hidden"[^>]*>', page)
        pairs = [(re.search(r'name="([^"]+)"', tag), re.search(r'value="([^"]*)"', tag)) for tag in hidden]
        return {name[1]: value[1] if value else "" for name, value in pairs if name}

    def send(self, path: str, values: dict[str, str]) -> httpx.Response:
        return self.post(path, {**self.form(path), **values})

    def post(self, path: str, values: dict[str, str]) -> httpx.Response:
        answer = self.http.post(path, data=values, headers={"Referer": str(self.http.base_url)})
        if answer.status_code != httpx.codes.FOUND:
            raise SystemExit(f"POST {path} answered {answer.status_code} instead of leading on.")
        return answer


def milliseconds(since: float) -> float:
    return (time.perf_counter() - since) * 1000


def until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{seconds} s passed and nothing was seen.")
        time.sleep(0.002)


def distribution(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "n": len(ordered),
        "p50": round(statistics.median(ordered), 1),
        "p95": round(ordered[max(0, -(-len(ordered) * 95 // 100) - 1)], 1),
        "max": round(ordered[-1], 1),
    }


class Bench:
    def __init__(self, stack: Stack, rounds: int) -> None:
        self.stack = stack
        self.rounds = rounds
        self.prefect = Prefect(stack.prefects[0])
        self.database = psycopg.connect(stack.settings["DATABASE_URL"], autocommit=True)
        self.deployment = self.prefect.deployment("heartbeat")

    def one(self, text: str, *values: Any) -> Any:
        row = self.database.execute(text, values).fetchone()
        return row[0] if row else None

    def own_answer(self) -> list[float]:
        """Prefect's own time for a create."""
        times = []
        for _ in range(self.rounds):
            began = time.perf_counter()
            self.prefect.create(self.deployment)
            times.append(milliseconds(began))
        return times

    def click(self) -> list[float]:
        account = next(it for it in self.stack.accounts() if it["name"] == "otto")
        person = Person(self.stack.address, account["name"], account["password"])
        pk = self.one("SELECT id FROM flows_deployment WHERE prefect_id = %s", self.deployment)
        path = f"admin/flows/deployment/{pk}/run/"
        times = []
        for _ in range(self.rounds):
            values = {**person.form(path), "start": "now"}
            last = self.one("SELECT coalesce(max(id), 0) FROM runs_runrequest")
            began = time.perf_counter()
            person.post(path, values)
            text = "SELECT 1 FROM runs_runrequest WHERE id > %s AND flow_run_id IS NOT NULL"
            until(lambda: self.one(text, last) is not None, 30)  # noqa: B023  (called before the next round)
            times.append(milliseconds(began))
        return times

    def seen(self, rounds: int, patience: float) -> tuple[list[float], list[float]]:
        """The times since Prefect's answers, and since the stamps of the states."""
        since_answer, since_stamp = [], []
        for _ in range(rounds):
            flow_run = self.prefect.create(self.deployment)
            for state in ("RUNNING", "COMPLETED"):
                stamp = self.prefect.set_state(flow_run, state)
                began = time.perf_counter()
                text = "SELECT 1 FROM runs_run WHERE prefect_id = %s AND state_type = %s"
                until(lambda: self.one(text, flow_run, state), patience)  # noqa: B023  (called before the next round)
                since_answer.append(milliseconds(began))
                since_stamp.append((datetime.now(UTC) - stamp).total_seconds() * 1000)
        return since_answer, since_stamp

    def lines(self) -> list[float]:
        flow_run = self.prefect.create(self.deployment)
        self.prefect.set_state(flow_run, "RUNNING")
        times = []
        for number in range(self.rounds):
            # Not in step with the looks of the follower.
            time.sleep(number % 7 / 10)
            self.prefect.log(flow_run, f"line {number}")
            began = time.perf_counter()
            text = (
                "SELECT 1 FROM runs_logline JOIN runs_run ON runs_run.id = run_id "
                "WHERE runs_run.prefect_id = %s AND message = %s"
            )
            until(lambda: self.one(text, flow_run, f"line {number}"), 30)  # noqa: B023  (called before the next round)
            times.append(milliseconds(began))
        return times

    def end_worker(self) -> None:
        """Nothing runs what is launched: the flows would take the processor that is measured."""
        (name,) = (each for each in self.stack.supervisor.parts if each.startswith("Prefect worker"))
        self.end(name)

    def measure(self) -> dict[str, dict[str, float]]:
        own = self.own_answer()
        click = self.click()
        typical = statistics.median(own)
        since_answer, since_stamp = self.seen(self.rounds, 30)
        table = {
            "Prefect's own create": distribution(own),
            "click to flow run": distribution(click),
            "click beyond Prefect": distribution([each - typical for each in click]),
            "seen": distribution(since_answer),
            "seen after the stamp": distribution(since_stamp),
            "line": distribution(self.lines()),
        }
        self.end(FOLLOWER)
        table["unseen"] = distribution(self.seen(2, 90)[0])
        return table

    def idle(self) -> dict[str, float]:
        """Return the share of a core by process."""
        self.end_worker()
        self.prefect.add_deployments(DEPLOYMENTS)
        text = "SELECT 1 FROM flows_deployment HAVING count(*) >= %s"
        until(lambda: self.one(text, DEPLOYMENTS) is not None, 90)
        # What the deployments caused is done by then.
        time.sleep(30)
        sessions = {name: self.stack.supervisor.parts[name].process for name in (BACKGROUND, FOLLOWER)}
        before = {name: used_by_session(process.pid) for name, process in sessions.items() if process}
        time.sleep(WATCHED)
        return {
            name: round((used_by_session(process.pid) - before[name]) / WATCHED, 4)
            for name, process in sessions.items()
            if process
        }

    def end(self, name: str) -> None:
        process = self.stack.supervisor.parts[name].process
        while process and not process.end():
            time.sleep(0.1)


def used_by_session(leader: int) -> float:
    """Return the processor seconds of all processes of a session, and of those that ended in it."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def kept(table: dict[str, dict[str, float]]) -> dict[str, bool]:
    """Which promises of the README hold in this run."""
    return {
        promise: table[promise.rsplit(" ", 1)[0]][promise.rsplit(" ", 1)[1]] <= limit
        for promise, limit in PROMISES.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    os.environ.setdefault("PORTAL_MODE", "demo")
    with tempfile.TemporaryDirectory(prefix="portal-bench-", ignore_cleanup_errors=True) as folder:
        stack = Stack(Options(data=Path(folder), port=0, prefect_port=0, environments=("dev",)), print)
        try:
            if not stack.start() or await_first_sync(stack):
                return 1
            bench = Bench(stack, rounds)
            # First, while no run is active.
            idle = bench.idle()
            table = bench.measure()
        finally:
            stack.stop()
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    holds = kept(table) | {"idle": sum(idle.values()) <= IDLE}
    result = {"machine": machine, "milliseconds": table, "idle, share of a core": idle, "kept": holds}
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(f"\n{'milliseconds':<24}{'n':>6}{'p50':>10}{'p95':>10}{'max':>10}")
    for name, row in table.items():
        print(f"{name:<24}{row['n']:>6.0f}{row['p50']:>10.1f}{row['p95']:>10.1f}{row['max']:>10.1f}")
    print(*(f"idle, {name}: {share:.2%} of a core" for name, share in idle.items()), sep="\n")
    for promise, limit in PROMISES.items():
        print(f"{'kept' if holds[promise] else 'BROKEN'}: {promise} <= {limit:.0f} ms")
    print(f"{'kept' if holds['idle'] else 'BROKEN'}: idle <= {IDLE:.0%} of a core")
    return 0 if all(holds.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

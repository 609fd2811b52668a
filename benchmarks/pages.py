"""How long pages and lists take at two numbers of runs: `python -m benchmarks.pages`, in a Postgres it starts.

With 10,000 runs and with 1,000,000, on the same machine in the same minutes: every list, filter, sort and search, the
overview, the pages of a run, a request and a deployment, for an operator with one broad grant and for one with 200
grants on single deployments, by two clients at once, from uvicorn, and what each costs in processor time. The API's
answers stand beside those of Prefect's own API, which has the same runs in a database of the same Postgres. The figures
are kept in benchmarks/pages.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg

from benchmarks import page_measures, seed_prefect
from benchmarks.own_postgres import module, own_postgres
from benchmarks.page_measures import Place, serve_until_ready
from portal.demo.ports import next_free
from portal.demo.postgres import Server
from portal.demo.processes import ROOT

RESULT = Path(__file__).parent / "pages.json"
# What a server for a million runs is given; both products' databases have it.
MEMORY = ("-c", "shared_buffers=512MB", "-c", "maintenance_work_mem=256MB", "-c", "max_wal_size=4GB")
WITHOUT_REPLICAS = ("-c", "wal_level=minimal", "-c", "max_wal_senders=0")
READERS = ["broad", "narrow"]
COST_ROUNDS = 3
NOTED = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--beside", type=int, default=10_000, help="the smaller number of runs")
    parser.add_argument("--requests", type=int, default=30, help="of each client for each page")
    parser.add_argument("--data", type=Path, help="a folder for the databases, which are kept and used again")
    parser.add_argument("--only", choices=["pages", "api", "costs"], help="measure a part; pages.json keeps the other")
    options = parser.parse_args()
    sizes = [options.beside, options.runs]
    if options.data:
        options.data.mkdir(mode=0o711, parents=True, exist_ok=True)
    result: dict[str, Any] = json.loads(RESULT.read_text()) if options.only and RESULT.exists() else {}
    with (
        tempfile.TemporaryDirectory(prefix="portal-bench-") as name,
        own_postgres(options.data, options=(*MEMORY, *WITHOUT_REPLICAS)) as server,
        ExitStack() as servers,
    ):
        folder = Path(name)
        for runs in sizes:
            seed(server, runs, folder, with_prefect=options.only != "costs")
        if options.only in (None, "costs"):
            result["costs"] = costs(server, sizes, folder)
        # They wait for uvicorn and for Prefect, which costs need not.
        places = [] if options.only == "costs" else [servers.enter_context(place(server, n, folder)) for n in sizes]
        if options.only in (None, "api"):
            result["api"] = page_measures.api(places, READERS, options.requests)
        if options.only in (None, "pages"):
            result["pages"] = page_measures.pages(places, READERS, options.requests)
    result["machine"] = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    result["sizes"], result["clients"] = sizes, page_measures.CLIENTS
    RESULT.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
    report(result)
    return 0


def costs(server: Server, sizes: list[int], folder: Path) -> dict[str, Any]:
    """Return reader -> page -> processor time and elements at each size, and the ratio of the times."""
    read: dict[int, Any] = {}
    # By turns, and the best counts: a shared machine is slower in one minute than in the next.
    for runs in sizes * COST_ROUNDS:
        file = folder / f"costs-{runs}.json"
        if module("page_costs", str(file), database=server.url(f"portal_{runs}")):
            raise SystemExit("The pages could not be opened.")
        found = json.loads(file.read_text())
        for reader, pages in read.setdefault(runs, found).items():
            pages |= {page: min(cost, found[reader][page], key=time_of) for page, cost in pages.items()}
    few, many = (read[runs] for runs in sizes)
    return {
        reader: {
            page: {
                **{str(runs): read[runs][reader][page] for runs in sizes},
                "ratio": round(time_of(many[reader][page]) / time_of(cost), 2),
            }
            for page, cost in pages.items()
        }
        for reader, pages in few.items()
    }


def time_of(cost: dict[str, float]) -> float:
    return cost["portal"] + cost["postgres"]


def seed(server: Server, runs: int, folder: Path, *, with_prefect: bool = True) -> None:
    """Fill the databases of one size, unless an earlier benchmark did."""
    for product in ("portal", "prefect") if with_prefect else ("portal",):
        name = f"{product}_{runs}"
        server.create(name)
        with psycopg.connect(server.url(name), autocommit=True) as connection:
            if connection.execute(NOTED, [name]).fetchone() == ("seeded",):
                continue
            if product == "prefect":
                seed_prefect.main(server.url(name), server.asyncpg_url(name), folder, runs)
            elif module("seed_rows", str(runs), database=server.url(name)):
                raise SystemExit(f"{name} could not be filled.")
            connection.execute(f"COMMENT ON DATABASE {name} IS 'seeded'")


@contextmanager
def place(server: Server, runs: int, folder: Path) -> Iterator[Place]:
    """Serve the pages and Prefect's API for one size."""
    database = server.url(f"portal_{runs}")
    file = folder / f"{runs}.json"
    if module("page_questions", str(file), database=database):
        raise SystemExit("There are no questions to ask.")
    portal, prefect = next_free(0), next_free(0)
    uvicorn = [sys.executable, "-m", "uvicorn", "portal.asgi:application", "--host", "127.0.0.1", "--port", f"{portal}"]
    # As many processes as compose.yaml starts.
    uvicorn += ["--workers", "2", "--http", "portal.ops.http_protocol:HTTPProtocol", "--log-level", "error"]
    settings = {"PORTAL_MODE": "demo", "DATABASE_URL": database, "PORTAL_PROCESS": "web"}
    # Without its services: nothing is scheduled, cleaned up or counted beside the questions.
    started = [Path(sys.executable).parent / "prefect", "server", "start", "--no-services", "--port", f"{prefect}"]
    theirs = {
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": server.asyncpg_url(f"prefect_{runs}"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    }
    with running(uvicorn, settings), running(started, theirs):
        portal_address, prefect_address = f"http://127.0.0.1:{portal}", f"http://127.0.0.1:{prefect}"
        serve_until_ready(answers(f"{portal_address}/health/live"), 60)
        serve_until_ready(answers(f"{prefect_address}/api/health"), 120)
        yield Place.read(runs, portal_address, prefect_address, file)


@contextmanager
def running(command: list[Any], settings: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | settings, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(address: str) -> Iterator[bool]:
    while True:
        try:
            yield httpx.get(address, timeout=5, trust_env=False).is_success
        except httpx.HTTPError:
            yield False


def report(result: dict[str, Any]) -> None:
    """Print what is above the goals."""
    size = str(result["sizes"][1])
    for reader, rows in result.get("pages", {}).items():
        slow = [name for name, row in rows.items() if row[size]["p95"] > 300 or row["ratio"] > 1.2]
        print(
            f"{reader}: {len(rows) - len(slow)} of {len(rows)} pages keep to 300 ms and a ratio of 1.2; "
            f"not: {', '.join(slow) or 'none'}"
        )
    for reader, rows in result.get("costs", {}).items():
        few, many = map(str, result["sizes"])
        # One that shows more is not the same page.
        counted = {name: (row[few]["elements"], row[many]["elements"]) for name, row in rows.items()}
        same = {name: row["ratio"] for name, row in rows.items() if counted[name][1] <= counted[name][0] * 1.1}
        dear = {name: ratio for name, ratio in same.items() if ratio > 1.2}
        named = ", ".join(f"{name} {ratio}" for name, ratio in sorted(dear.items(), key=lambda each: -each[1]))
        print(
            f"{reader}: {len(same) - len(dear)} of {len(same)} pages that show as much cost at most 1.2 times as much"
        )
        print(f"  not: {named or 'none'}")
        print(f"  that show more: {', '.join(sorted(rows.keys() - same.keys())) or 'none'}")
    for reader, rows in result.get("api", {}).items():
        slow = [name for name, row in rows.items() if not row[size].get("kept", True)]
        print(f"{reader}: the API's answers that are slower than allowed: {', '.join(slow) or 'none'}")


if __name__ == "__main__":
    sys.exit(main())

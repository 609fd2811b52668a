"""Times the CRM flows against a Prefect server that is started, and their steps without Prefect on many rows."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pandas as pd

from flows import deploy
from flows.crm import (
    column_counts,
    corrections,
    drift,
    features,
    model_training,
    sales_activity,
    sample,
    scoring,
    source,
)
from flows.crm.months import last_day
from flows.crm.snapshot import as_of
from flows.crm.table_schema import Tables

REFERENCE, CURRENT = "2017-08", "2017-10"
PATIENCE = 300.0  # seconds until the server answers
# In the order of a month; the reference and its model are made first and not timed.
TIMED: tuple[tuple[str, tuple[object, ...]], ...] = (
    ("crm-data-acquisition", (CURRENT,)),
    ("crm-data-ingestion", (CURRENT,)),
    ("monthly-win-probability-training", (CURRENT,)),
    ("reference-data-creation", (CURRENT, 1000)),
    ("open-deal-scoring", (CURRENT,)),
    ("model-drift-monitoring", (CURRENT, REFERENCE)),
    ("crm-data-cleanup", ()),
)
FIRST: tuple[tuple[str, tuple[object, ...]], ...] = (
    ("crm-data-acquisition", (REFERENCE,)),
    ("crm-data-ingestion", (REFERENCE,)),
    ("monthly-win-probability-training", (REFERENCE,)),
    ("reference-data-creation", (REFERENCE, 1000)),
)


def tables() -> tuple[Tables, str]:
    """Return the tables to measure on, and where they come from: CRM_SOURCE_DIR or the generator."""
    name = "public" if os.environ.get("CRM_SOURCE_DIR") else "generated"
    return source.load().tables, name


def time_flows() -> dict[str, Any]:
    """Run every flow in a process of its own; return its seconds and its peak memory, imports included."""
    found: dict[str, Any] = {"tables": tables()[1]}
    with tempfile.TemporaryDirectory(prefix="bench-pipelines-") as folder, _server(Path(folder)) as address:
        environment = {
            **os.environ,
            "CRM_LAKE": f"{folder}/lake",
            "PREFECT_HOME": folder,
            "PREFECT_API_URL": address,
            "PREFECT_LOGGING_LEVEL": "ERROR",
        }
        for name, arguments in FIRST:
            _run(name, arguments, environment)
        for name, arguments in TIMED:
            found[name] = _run(name, arguments, environment)
    return found


def _run(name: str, arguments: tuple[object, ...], environment: dict[str, str]) -> dict[str, Any]:
    pipeline = deploy.PIPELINES[name]
    # The high-water mark of the process itself: `ru_maxrss` of a child begins with the memory of its parent.
    program = (
        f"from {pipeline.module} import {pipeline.function} as flow\n"
        f"flow(*{arguments!r})\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program], env=environment, stdout=subprocess.PIPE, text=True
    )
    told = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{name} failed with exit status {process.returncode}.")
    return {
        "seconds": round(time.monotonic() - began, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "mb": int(told.rpartition("VmHWM:")[2].split()[0]) // 1024,
    }


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PREFECT_HOME": str(folder), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}/api"
    try:
        _wait_for(f"{address}/health", process)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(address, timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.5)
    raise SystemExit("The Prefect server did not start.")


def time_steps(factor: int) -> dict[str, Any]:
    """Time the steps without Prefect on `factor` times the rows, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-pipelines-") as folder:
        found, _ = tables()
        deals = found["sales_pipeline"]
        copies = [
            deals.assign(opportunity_id=deals["opportunity_id"] + ("" if copy == 0 else f"-{copy}"))
            for copy in range(factor)
        ]
        for name, frame in {**found, "sales_pipeline": pd.concat(copies)}.items():
            frame.to_csv(Path(folder) / f"{name}.csv", index=False, date_format="%Y-%m-%d")
        del copies
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.pipeline_runs", folder]
        answer: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return answer


def steps(folder: Path) -> dict[str, Any]:
    seconds: dict[str, float] = {}

    def timed[T](name: str, step: Callable[[], T]) -> T:
        # Of the processor: what else the machine does must not count.
        began = time.process_time()
        result = step()
        seconds[name] = round(time.process_time() - began, 2)
        return result

    found = timed("read the source", lambda: source.from_folder(folder).tables)
    cleaned = timed("clean", lambda: corrections.clean(as_of(found, last_day(CURRENT))))
    deals = timed("build features", lambda: features.build(cleaned))
    closed = model_training.closed_deals(deals, cleaned["sales_pipeline"])
    trained = timed("train", lambda: model_training.train(closed, CURRENT, None))
    model, here = trained.model, deals["engage_date"] >= pd.Timestamp(last_day(CURRENT)).replace(day=1)
    timed("score the open deals", lambda: model(scoring.open_deals(deals, cleaned)))
    taken, counts = timed(
        "take the reference", lambda: (sample.stratified(deals, 1000, CURRENT), column_counts.count(deals))
    )
    reference, current = (frame.assign(prediction=model(frame)) for frame in (taken, deals[here]))
    ended = current[current["won"].notna()]
    earlier = pd.concat([trained.parts.comparing, trained.parts.judging])
    earlier = earlier.assign(prediction=model(earlier))
    desk = timed("measure the activity", lambda: sales_activity.measure(cleaned, CURRENT, REFERENCE))
    timed(
        "measure the drift",
        lambda: drift.compare(
            reference,
            current,
            counts=counts,
            earlier=earlier,
            closed=ended,
            activity=desk,
            baseline=trained.quality.as_json(),
        ),
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"deals": len(found["sales_pipeline"]), "seconds": seconds, "mb": peak}


if __name__ == "__main__":
    print(json.dumps(steps(Path(sys.argv[1]))))

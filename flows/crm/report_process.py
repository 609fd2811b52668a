"""Renders Evidently's report in a separate process.

Importing Evidently takes seconds and a hundred megabytes, which publishing or starting a pipeline should not cost.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from flows.crm import drift, metrics
from flows.crm.failures import NoReport

PROGRAM = "flows.crm.evidently_report"
HOME = Path(__file__).resolve().parents[2]  # the folder that holds the package `flows`
TIMEOUT = 300.0  # seconds


def full_page(
    reference: pd.DataFrame, current: pd.DataFrame, *, program: str = PROGRAM, timeout: float = TIMEOUT
) -> bytes:
    with tempfile.TemporaryDirectory(prefix="crm-evidently-") as folder:
        was, now, page = (Path(folder) / name for name in ("reference.parquet", "current.parquet", "page.html"))
        drift.observed(reference).to_parquet(was)
        drift.observed(current).to_parquet(now)
        places = os.pathsep.join(filter(None, [str(HOME), os.environ.get("PYTHONPATH")]))
        try:
            # DO_NOT_TRACK switches off Evidently's telemetry, in case one of those parts is ever loaded.
            subprocess.run(
                [sys.executable, "-W", "ignore", "-m", program, str(was), str(now), str(page), str(metrics.P_VALUE)],
                env={**os.environ, "PYTHONPATH": places, "DO_NOT_TRACK": "1"},
                check=True,
                capture_output=True,
                text=True,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            raise NoReport(
                f"Evidently took more than {timeout:.0f} seconds for its report: "
                "run this again when the worker has less to do."
            ) from None
        except subprocess.CalledProcessError as error:
            last_line = (error.stderr.strip().splitlines() or [f"exit status {error.returncode}"])[-1]
            raise NoReport(
                f"Evidently cannot draw its report ({last_line[:200]}): install the extra `crm` on this worker."
            ) from None
        return page.read_bytes()

"""Renders Evidently's report in a separate process, which loads while the pipeline works.

Importing Evidently takes seconds and a hundred megabytes, which publishing or starting a pipeline should not cost.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import pandas as pd

from flows.crm import drift, metrics
from flows.crm.failures import NoReport

PROGRAM = "flows.crm.evidently_report"
HOME = Path(__file__).resolve().parents[2]  # the folder that holds the package `flows`
TIMEOUT = 300.0  # seconds


class Renderer:
    """A process that is ready to render one report. It waits for its files, and ends with this one."""

    def __init__(self, *, program: str = PROGRAM, timeout: float = TIMEOUT) -> None:
        self._timeout = timeout
        places = os.pathsep.join(filter(None, [str(HOME), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", program, str(metrics.P_VALUE)],
            # DO_NOT_TRACK switches off Evidently's telemetry, in case one of those parts is ever loaded.
            env={**os.environ, "PYTHONPATH": places, "DO_NOT_TRACK": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def page(self, reference: pd.DataFrame, current: pd.DataFrame) -> bytes:
        """Return the report as HTML; raise `NoReport` if there is none within the timeout."""
        with tempfile.TemporaryDirectory(prefix="crm-evidently-") as folder:
            was, now, page = (Path(folder) / name for name in ("reference.parquet", "current.parquet", "page.html"))
            drift.observed(reference).to_parquet(was)
            drift.observed(current).to_parquet(now)
            try:
                _, told = self._process.communicate("\n".join(map(str, (was, now, page))), timeout=self._timeout)
            except subprocess.TimeoutExpired:
                raise NoReport(
                    f"Evidently took more than {self._timeout:.0f} seconds for its report: "
                    "run this again when the worker has less to do."
                ) from None
            if self._process.returncode:
                last_line = (told.strip().splitlines() or [f"exit status {self._process.returncode}"])[-1]
                raise NoReport(
                    f"Evidently cannot draw its report ({last_line[:200]}): install the extra `crm` on this worker."
                )
            return page.read_bytes()

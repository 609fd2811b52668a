"""Serves the pages of this checkout beside a running portal, and starts again when a file changes."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import CommandParser

from portal.demo.ports import next_free
from portal.demo.processes import ROOT
from runs.management.cli.command import OperatorCommand


class Command(OperatorCommand):
    help = "Serve the pages beside a running demo, with its settings, and reload when a file changes. Ctrl-C stops it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8001, help="port; if it is taken, the next free one")

    def handle(self, *args: Any, **options: Any) -> None:
        port = next_free(options["port"])
        address = f"http://127.0.0.1:{port}"
        self.stdout.write(f"The pages are at {address}/ and reload when a file changes. Ctrl-C stops them.")
        self.stdout.flush()
        folders = [argument for name in ("flows", "runs", "portal") for argument in ("--reload-dir", str(ROOT / name))]
        # Replaces this process, so that Ctrl-C reaches the server alone.
        os.execve(
            sys.executable,
            [
                *(sys.executable, "-m", "uvicorn", "portal.asgi:application", "--host", "127.0.0.1"),
                *("--port", str(port), "--reload", "--reload-include", "*.html", *folders),
                # Otherwise open event streams would block each reload.
                *("--timeout-graceful-shutdown", "1"),
            ],
            {**os.environ, "PORTAL_PUBLIC_URL": address, "PORTAL_PROCESS": "web"},
        )

"""Starts the whole product on this machine: `manage.py demo`."""

import os
import re
import signal
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from portal.demo.processes import ROOT, NotStarted
from portal.demo.smoke_test import SmokeTest
from portal.demo.stack import PREFECT_PORT, Options, Stack, await_first_sync
from runs.management.cli.command import OperatorCommand

NAME = "[a-z][a-z0-9-]{0,19}"
DATA = ROOT / "var" / "demo"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Command(OperatorCommand):
    help = "Start Postgres, Prefect servers with workers, and the portal on this machine. Ctrl-C stops everything."
    # Checks may need the database, which this command is about to start.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--data", type=Path, help=f"data folder (default: {DATA.relative_to(ROOT)})")
        parser.add_argument(
            "--port",
            type=int,
            default=8000,
            help="port of the portal; if it is taken, the next free one; 0 for free ones, also for Prefect",
        )
        parser.add_argument(
            "--environments", default="dev,prod", help="names of the Prefect servers, separated by commas"
        )
        parser.add_argument("--no-story", action="store_true", help="start without sample data")
        parser.add_argument(
            "--check",
            action="store_true",
            help="start in a temporary folder (or --data) on free ports with an embedded Postgres, run the smoke test, "
            "stop, and exit with 0 if it passed",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        names = options["environments"].split(",")
        if not all(re.fullmatch(NAME, name) for name in names) or len(set(names)) < len(names):
            raise CommandError("--environments requires different names such as dev,prod: letters, digits and hyphens.")
        try:
            if options["check"]:
                self.smoke_test(names, options["data"])
            else:
                database = os.environ.get("DATABASE_URL", "")
                folder = options["data"] or DATA
                self.serve(
                    Options(
                        data=folder,
                        port=options["port"],
                        # Free ports for all: two demos that start together would choose the same one.
                        prefect_port=PREFECT_PORT if options["port"] else 0,
                        story=not options["no_story"],
                        environments=names,
                        database=database,
                    )
                )
        except NotStarted as error:
            raise CommandError(str(error)) from error

    def serve(self, options: Options) -> None:
        stack = Stack(options, self.say)
        self.handle_signals(stack)
        try:
            # In `try` from here on: Ctrl-C during the start has to stop what already runs.
            if stack.start():
                self.print_summary(stack, await_first_sync(stack, options.environments[0]))
            stack.supervisor.watch()
        finally:
            self.end(stack)

    def smoke_test(self, names: list[str], data: Path | None) -> None:
        with tempfile.TemporaryDirectory(prefix="portal-check-", ignore_cleanup_errors=True) as folder:
            stack = Stack(Options(data=data or Path(folder), port=0, prefect_port=0, environments=names), self.say)
            self.handle_signals(stack)
            try:
                has_passed = stack.start() and SmokeTest(stack, self.say).run()
            finally:
                self.end(stack)
        if not has_passed:
            raise CommandError("The smoke test failed.")

    def handle_signals(self, stack: Stack) -> None:
        # The handler only sets a flag, which the supervisor's loop reads: stopping parts is no work for a handler.
        for number in STOP_SIGNALS:
            signal.signal(number, lambda *_: stack.supervisor.ask_to_stop())

    def end(self, stack: Stack) -> None:
        self.say("Stopping…")
        began = time.monotonic()
        stack.stop()
        self.say(f"Everything is stopped, after {time.monotonic() - began:.1f} s.")

    def print_summary(self, stack: Stack, unsynced: list[str]) -> None:
        """Print the addresses and accounts, and which environments are not synced yet."""
        # Stopped while waiting for the first sync: addresses would be of no use.
        if stack.supervisor.stopping:
            return
        first, *others = stack.prefects
        accounts = stack.accounts()
        wide = max(len(account["name"]) for account in accounts)
        wider = max(len(account["password"]) for account in accounts)
        lines = [
            "",
            f"The portal is at {stack.address} after {time.monotonic() - stack.started:.0f} s.",
            "",
            "Sign in as        with password",
            *(f"  {it['name']:<{wide}}  {it['password']:<{wider}}  {it['may']}" for it in accounts),
            "",
            f"Prefect UI of {first.name}: {first.address}",
            *(f"Prefect UI of {it.name}: {it.address} (starting)" for it in others),
            f"Its password is in the file prefect-NAME in {stack.folder.path / 'secrets'}.",
            f"Logs: {stack.folder.logs}",
            "In other terminals: make status, make runs (make help lists all), or after “pip install ./portal/client”",
            f"export PORTAL_ADDRESS={stack.address.rstrip('/')} PORTAL_TOKEN=$(cat {stack.folder.tokens / 'otto'})",
            "portal run heartbeat -e dev --wait --logs",
            *(["Sample data of four months is being loaded; see Model monitoring."] if stack.has_story else []),
            *(f"{slug} is not synced yet; the portal shows why." for slug in unsynced),
            "Ctrl-C stops everything.",
            "",
        ]
        self.say("\n".join(lines))

    def say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

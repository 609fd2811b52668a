"""Starts the whole product on this machine: `manage.py demo`."""

import os
import re
import signal
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.demo.processes import ROOT, NotStarted
from portal.demo.smoke_test import SmokeTest
from portal.demo.stack import Options, Stack, await_first_sync

NAME = "[a-z][a-z0-9-]{0,19}"
DATA = ROOT / "var" / "demo"
ASKS_TO_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Command(BaseCommand):
    help = "Start Postgres, Prefect servers with workers, and the portal on this machine. Ctrl-C stops everything."
    # The database that checks might ask for is only about to be started.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--data", type=Path, help=f"where everything is kept; {DATA.relative_to(ROOT)} by default")
        parser.add_argument("--port", type=int, default=8000, help="of the portal, or the next free one")
        parser.add_argument("--environments", default="dev,prod", help="names, separated by commas")
        parser.add_argument("--no-story", action="store_true", help="come up with no months of CRM data")
        parser.add_argument(
            "--check",
            action="store_true",
            help="start on a new temporary folder, or that of --data, and free ports, with a Postgres of its own, do "
            "the main job as an operator would, stop, and exit with 0 when everything went as it should",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        names = options["environments"].split(",")
        if not all(re.fullmatch(NAME, name) for name in names) or len(set(names)) < len(names):
            raise CommandError("--environments wants different names such as dev,prod: letters, digits and hyphens.")
        try:
            if options["check"]:
                self.check_up(names, options["data"])
            else:
                database = os.environ.get("DATABASE_URL", "")
                folder = options["data"] or DATA
                self.serve(
                    Options(
                        data=folder,
                        port=options["port"],
                        story=not options["no_story"],
                        environments=names,
                        database=database,
                    )
                )
        except NotStarted as error:
            raise CommandError(str(error)) from error

    def serve(self, options: Options) -> None:
        stack = Stack(options, self.say)
        self.obey(stack)
        try:
            if stack.start():
                self.introduce(stack, await_first_sync(stack, options.environments[0]))
            stack.supervisor.watch()
        finally:
            self.end(stack)

    def check_up(self, names: list[str], data: Path | None) -> None:
        with tempfile.TemporaryDirectory(prefix="portal-check-", ignore_cleanup_errors=True) as folder:
            stack = Stack(Options(data=data or Path(folder), port=0, prefect_port=0, environments=names), self.say)
            self.obey(stack)
            try:
                well = stack.start() and SmokeTest(stack, self.say).run()
            finally:
                self.end(stack)
        if not well:
            raise CommandError("The check-up failed.")

    def obey(self, stack: Stack) -> None:
        for number in ASKS_TO_STOP:
            signal.signal(number, lambda *_: stack.supervisor.ask_to_stop())

    def end(self, stack: Stack) -> None:
        self.say("Stopping …")
        began = time.monotonic()
        stack.stop()
        self.say(f"Everything is stopped, after {time.monotonic() - began:.1f} s.")

    def introduce(self, stack: Stack, unread: list[str]) -> None:
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
            f"Prefect's own pages of {first.name}: {first.address}",
            *(f"Prefect's own pages of {it.name}: {it.address} (it starts now)" for it in others),
            f"They ask for the password that the file prefect-NAME in {stack.folder.path / 'secrets'} holds.",
            f"Logs are in {stack.folder.logs}.",
            "Other terminals reach this demo too, for example: python manage.py verify_audit",
            *(["A story of four months is told meanwhile; see Model monitoring."] if stack.has_story else []),
            *(f"{slug} was not read yet; the portal shows why." for slug in unread),
            "Ctrl-C stops everything.",
            "",
        ]
        self.say("\n".join(lines))

    def say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

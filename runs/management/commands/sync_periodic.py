"""Set up the periodic tasks; run it after `migrate`."""

from typing import Any

from runs import periodic
from runs.management.cli.command import OperatorCommand


class Command(OperatorCommand):
    help = "Set up the periodic background tasks. Run it once after every migrate."

    def handle(self, *args: Any, **options: Any) -> None:
        periodic.sync_schedules()
        self.stdout.write(f"{len(periodic.PERIODIC)} periodic tasks are set up.")

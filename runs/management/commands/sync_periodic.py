"""Set up the periodic tasks; run it after `migrate`."""

from typing import Any

from django.core.management.base import BaseCommand

from runs import periodic


class Command(BaseCommand):
    help = "Set up the periodic background tasks. Run it once after every migrate."

    def handle(self, *args: Any, **options: Any) -> None:
        periodic.sync_schedules()
        self.stdout.write(f"{len(periodic.PERIODIC)} periodic tasks are set up.")

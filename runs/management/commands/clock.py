"""Sets up the periodic tasks; run it after `migrate`."""

from typing import Any

from django.core.management.base import BaseCommand

from runs import clock


class Command(BaseCommand):
    help = "Set up the periodic background tasks. Run it once after every migrate."

    def handle(self, *args: Any, **options: Any) -> None:
        clock.wind()
        self.stdout.write(f"{len(clock.CLOCK)} periodic tasks are set up.")

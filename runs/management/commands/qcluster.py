"""Run background tasks. In place of django-q2's command of this name: see `runs.cluster`."""

from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection

from runs import cluster


class Command(BaseCommand):
    help = "Run background tasks: launches, cancellations, notifications, syncs."

    def handle(self, *args: Any, **options: Any) -> None:
        # The checks of a command may have opened it, and the processes that are forked must not share it.
        connection.close()
        # The demo waits for this word before it starts the next process.
        self.stdout.write("Running.")
        cluster.run_processes()

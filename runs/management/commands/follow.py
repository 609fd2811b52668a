"""Runs the event follower: one process for all environments."""

import asyncio
import signal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from runs.mirror.follower import follow

BEAT_SECONDS = 10


class Command(BaseCommand):
    help = "Follow the event streams of every environment, and sweep for what they miss."

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(self.until_told())

    async def until_told(self) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        self.stdout.write("Following.")
        beating = asyncio.create_task(beat(settings.HEARTBEAT_FILE))
        await follow(stop=stop)
        beating.cancel()


async def beat(path: str) -> None:
    """Show from outside that the loop still turns."""
    while path:
        Path(path).touch()
        await asyncio.sleep(BEAT_SECONDS)

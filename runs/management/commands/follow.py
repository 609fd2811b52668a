"""Run the event follower: one process for all servers."""

import asyncio
import signal
from pathlib import Path
from typing import Any

from django.conf import settings

from runs.management.cli.command import OperatorCommand
from runs.mirror.follower import follow

BEAT_SECONDS = 10


class Command(OperatorCommand):
    help = "Follow the event streams of all servers, and sync what they miss."

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(self.run_until_signal())

    async def run_until_signal(self) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        # The demo waits for this word before it starts the next process.
        self.stdout.write("Following.")
        beating = asyncio.create_task(beat(settings.HEARTBEAT_FILE))
        await follow(stop=stop)
        beating.cancel()


async def beat(path: str) -> None:
    """Touch the heartbeat file, so that a health check sees that the loop is not stuck."""
    while path:
        Path(path).touch()
        await asyncio.sleep(BEAT_SECONDS)

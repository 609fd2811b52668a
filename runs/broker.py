"""The django-q2 broker over `runs.queue`."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from django_q.brokers import Broker
from django_q.signing import SignedPackage

from runs import queue
from runs.models import QueuedTask
from runs.queue import Priority

# Of this many tasks one is the oldest, whatever its priority: nothing waits forever behind a stream of launches.
OLDEST_EVERY = 4


class QueueBroker(Broker):
    """Stores a task by name and arguments, and packs it when it is taken.

    django-q2's own package is a signed pickle: in the table it would let anyone who can write there and knows
    PORTAL_SECRET_KEY run any code.
    """

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        # The least urgent tasks that this broker takes.
        self.up_to = Priority.MAINTAIN
        self._taken = 0

    def enqueue(self, task: str) -> None:
        package = SignedPackage.loads(task)
        queue.insert(package["func"], tuple(package["args"]))

    def dequeue(self) -> list[tuple[int, str]] | None:
        """Return the key and the package of the next task, or None; this session holds it until `acknowledge`."""
        task = queue.take(up_to=self.up_to, by_age=self._taken % OLDEST_EVERY == OLDEST_EVERY - 1)
        if task is None:
            return None
        self._taken += 1
        package = {
            "id": str(task.pk),
            "name": str(task),
            "func": task.name,
            "args": task.args,
            "kwargs": {},
            "started": timezone.now(),
        }
        return [(task.pk, SignedPackage.dumps(package))]

    def acknowledge(self, task_id: int) -> None:
        queue.finish(task_id)

    # Deleted when it has ended, whatever the result: what must be retried is in its own table, with its state.
    fail = delete = acknowledge

    def queue_size(self) -> int:
        return QueuedTask.objects.filter(taken_at=None).count()

    def lock_size(self) -> int:
        return QueuedTask.objects.exclude(taken_at=None).count()

    def ping(self) -> bool:
        return True

    def info(self) -> Any:
        return "Portal"

"""Queue background tasks: the only module that imports django-q2's `async_task`."""

from django_q.tasks import async_task


def enqueue(task: str, *args: int | str) -> None:
    """Queue `task`, a dotted name in `runs.tasks` or `flows.tasks`, as part of the current transaction.

    The ORM broker writes a row, so a rollback removes it and nothing runs before the commit. A task gets a primary key
    and reads its row itself: django-q2 can run a task twice, or late.
    """
    async_task(task, *args)

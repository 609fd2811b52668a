"""The only door to django-q2."""

from django_q.tasks import async_task


def enqueue(task: str, *args: int | str) -> None:
    """Queue `task`, a dotted name in `runs.tasks` or `flows.tasks`, as part of the current transaction.

    The row is written by the ORM broker, so a rollback takes it back and nothing runs before the commit.
    """
    async_task(task, *args)

"""A link that is used while the account changes. With real commits: the second waits for the first."""

from __future__ import annotations

import threading
import time
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from portal.auth import password_reset
from runs.models import AuditEntry
from tests.portal.page_elements import attributes
from tests.sessions import elsewhere

FIRST, SECOND = "first-horse-battery", "second-horse-battery"


def is_waiting() -> bool:
    """Whether a session waits for another one's lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return cursor.fetchone() == (True,)


def test_of_two_uses_at_the_same_time_the_second_is_refused(own_database: str) -> None:
    otto = User.objects.create_user("otto", "otto@portal.example", "old-horse-battery", is_staff=True)
    client = Client()
    form = client.get(password_reset.path_of_link(otto), follow=True).redirect_chain[-1][0]  # type: ignore[attr-defined]  # the client's own
    found: list[Any] = []

    def use() -> None:
        found.append(client.post(form, {"new_password1": SECOND, "new_password2": SECOND}))
        connection.close()

    def use_first() -> None:
        otto.set_password(FIRST)
        otto.save()

    thread = threading.Thread(target=use)
    with elsewhere(use_first):
        thread.start()
        while not is_waiting():
            time.sleep(0.01)
    thread.join()
    assert attributes(found[0].content.decode(), "data-link") == ["refused"]
    entry = AuditEntry.objects.get(verb="person.own_password")
    assert (entry.outcome, entry.after["refused"]["code"]) == ("refused", "reset_link.used")
    assert User.objects.get(pk=otto.pk).check_password(FIRST)

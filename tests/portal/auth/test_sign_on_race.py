"""A first sign-on that is made twice at once, as by a double click. With real commits: one waits for the other."""

from __future__ import annotations

import threading
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from runs.models import AuditEntry, SignOnIdentity
from tests.portal import sign_ons
from tests.portal.sign_ons import come_back, consent, leave, someone

EMAIL = "otto@portal.example"


def test_two_first_sign_ons_at_once_connect_the_account_once(own_database: str, settings: Any) -> None:
    User.objects.create_user("otto", EMAIL, is_staff=True)
    with sign_ons.provider() as issuer:
        sign_ons.use(settings, issuer)
        someone(issuer, "4711", email=EMAIL, email_verified=True)
        clients = [Client(), Client()]
        ways_back = [consent(leave(client), "4711") for client in clients]
        barrier, found = threading.Barrier(2), [0, 0]

        def use(number: int) -> None:
            barrier.wait()
            found[number] = come_back(clients[number], ways_back[number]).status_code
            connection.close()

        threads = [threading.Thread(target=use, args=[number]) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [302, 302]
    assert SignOnIdentity.objects.count() == 1
    verbs = AuditEntry.objects.order_by("sequence").values_list("verb", flat=True)
    assert sorted(verbs) == ["person.connect_sign_on", "session.sign_in", "session.sign_in"]

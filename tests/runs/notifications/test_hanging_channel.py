"""A channel that hangs, with real commits: what it delays, and what it does not."""

from __future__ import annotations

import threading

import pytest
from django.contrib.auth.models import User
from django.db import connection

from runs import notifications, tasks
from runs.models import Channel, Delivery
from runs.models.notification import Topic
from runs.notifications import channels, pinned_http, sending
from tests.cast import by
from tests.receiver import receiver


def new(administrator: User, address: str, name: str) -> channels.NewChannel:
    return channels.create(by=by(administrator), name=name, kind="webhook", address=address, allows_private=True)


def message(channel: Channel) -> Delivery:
    return notifications.create(None, Topic.FREEZE, None, "dev is frozen", "", None, [channel]).deliveries.get()


def state_of(delivery: Delivery) -> str:
    return Delivery.objects.get(pk=delivery.pk).state


def attempts_of(delivery: Delivery) -> int:
    return Delivery.objects.get(pk=delivery.pk).attempts


@pytest.mark.usefixtures("own_database")
def test_one_that_hangs_delays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinned_http, "DEADLINE", 3.0)
    administrator = User.objects.create_superuser("root")
    with receiver(hangs=True) as hanging, receiver() as quick:
        dead = new(administrator, hanging.address, name="dead").channel
        alive = new(administrator, quick.address, name="alive").channel
        first, second, other = message(dead), message(dead), message(alive)

        def send() -> None:
            tasks.send_deliveries(dead.pk)
            connection.close()

        worker = threading.Thread(target=send)
        worker.start()
        assert hanging.has_begun.wait(10)
        tasks.send_deliveries(alive.pk)
        assert worker.is_alive()
        assert state_of(other) == "sent"
        worker.join(10)
        assert [attempts_of(each) for each in (first, second)] == [1, 0]
        assert state_of(first) == "wanted"
        # Those that did not answer are tried one at a time: the other workers stay free.
        Channel.objects.update(next_attempt_at=None)
        with sending.turn(Channel.objects.get(pk=dead.pk)):
            taken: list[bool] = []

            def ask() -> None:
                with sending.turn(Channel.objects.get(pk=dead.pk)) as is_free:
                    taken.append(is_free)
                connection.close()

            other_worker = threading.Thread(target=ask)
            other_worker.start()
            other_worker.join(10)
            assert taken == [False]

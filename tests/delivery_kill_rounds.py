"""Kills the processes that send deliveries, and compares what arrived; `tests.delivery_kills` starts this."""

from __future__ import annotations

import logging
import random
import sys
import time
from collections import defaultdict
from datetime import time as clock_time
from itertools import pairwise
from statistics import median

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402  (Django must be set up before)
from django.core.management import call_command  # noqa: E402
from django.utils import timezone  # noqa: E402

from benchmarks.background_processes import Background, until  # noqa: E402
from runs.actors import Actor  # noqa: E402
from runs.actors import Channel as Door  # noqa: E402
from runs.models import Channel, Delivery, EmailSettings  # noqa: E402
from runs.models.notification import Topic  # noqa: E402
from runs.notifications import channels, services  # noqa: E402
from tests.answering_servers import MAIL, RETRY_AFTER, Answer, Arrival, Servers, answering  # noqa: E402
from tests.process_kill_rounds import Broken, holds  # noqa: E402

PATIENCE = 1_800
BUSY, DEAD, HEALTHY = [f"busy{number}" for number in range(8)], ["dead0", "dead1"], "healthy"
PEOPLE = ["anna", "ben", "carl"]
# Who gets what is due at the same time as one email.
COLLECTS = "carl"
# Seconds between two kills, and between two messages to the healthy channel.
BETWEEN_KILLS, PULSE = (0.5, 2.5), 0.5
# How long these go on after everything else was sent: in all, and in the short version, in which nothing fails.
CALM, SHORT_CALM = 60.0, 5.0
# An answer that takes longer is one that nobody reads any more, or may not: `pinned_http.TIMEOUT` is 5 s.
UNREAD = 4.5
# The message of that number of each channel or person -> how its first arrival is answered. Each failure costs a minute
# or more, as long as the address is left alone.
FAILURES = {3: "error", 6: "rest", 9: "close", 12: "late"}


class World:
    """The channels, the people, and what was queued for them; `dice` decide how long answers take."""

    def __init__(self, messages: int) -> None:
        self.messages, self.dice = messages, random.Random(2026)
        self.queued: dict[str, float] = {}
        self.healthy = self.collected = 0
        # When everything else had been sent.
        self.calm_since = 0.0
        self.calm = CALM if messages > min(FAILURES) else SHORT_CALM

    def plan(self, arrival: Arrival, earlier: int) -> Answer:
        lane = arrival.lane.strip("/")
        if lane in DEAD:
            return Answer("never")
        if lane == HEALTHY:
            return Answer()
        kind = self.failure(arrival.subject) if earlier == 0 else "ok"
        if lane == MAIL:
            # A mail server has no other ways to fail.
            kind = kind if kind in ("error", "close") else "ok"
        return Answer(kind, self.dice.uniform(0.05, 1.2))

    def failure(self, subject: str) -> str:
        """Return how the first arrival of a message is answered; of the first email of several it is not."""
        if subject.startswith("Message"):
            return FAILURES.get(int(subject.split()[1]), "ok")
        self.collected += 1
        return "close" if self.collected == 1 and self.calm == CALM else "ok"

    def build(self, servers: Servers) -> None:
        administrator = User.objects.create_superuser("root")
        by = Actor.person(administrator, channel=Door.COMMAND)
        for name in (*BUSY, *DEAD, HEALTHY):
            address = f"http://127.0.0.1:{servers.web_port}/{name}"
            channels.create(by=by, name=name, kind="webhook", address=address, allows_private=True)
        Delivery.objects.all().delete()
        self.channels = {channel.name: channel for channel in Channel.objects.all()}
        for name in PEOPLE:
            User.objects.create(username=name, is_staff=True, email=f"{name}@portal.example")
        # Quiet hours of a minute, twelve hours from now: none are quiet, and what is due is one email.
        hour = (timezone.now().hour + 12) % 24
        EmailSettings.objects.create(
            person=User.objects.get(username=COLLECTS),
            quiet_from=clock_time(hour, 0),
            quiet_until=clock_time(hour, 1),
        )
        rows = User.objects.filter(username__in=PEOPLE).select_related("email_settings")
        self.people = {person.username: person for person in rows}

    def queue(self, number: int) -> None:
        """Queue the message of a number to each channel but the healthy one, and to each person."""
        drafts = [
            services.Draft(None, Topic.FREEZE, None, f"Message {number} to {name}", "", None, (self.channels[name],))
            for name in (*BUSY, *DEAD)
        ]
        drafts += [
            services.Draft(self.people[name], Topic.FREEZE, None, f"Message {number} to {name}", "") for name in PEOPLE
        ]
        services.create_many(drafts)

    def pulse(self) -> None:
        """Queue a message to the healthy channel."""
        subject = f"Message {self.healthy} to {HEALTHY}"
        self.healthy += 1
        services.create(None, Topic.FREEZE, None, subject, "", None, [self.channels[HEALTHY]])
        self.queued[subject] = time.monotonic()


def left() -> int:
    """Return how many deliveries wait, but for those to channels that never answer, and to the healthy one."""
    waiting = Delivery.objects.filter(state=Delivery.State.WANTED)
    return waiting.exclude(channel__name__in=[*DEAD, HEALTHY]).count()


def send_through_kills(world: World, servers: Servers, processes: Background, kills: int) -> dict[int, float]:
    """Queue everything while processes are killed, and wait until it has been sent; return when each was killed."""
    killed: dict[int, float] = {}
    began, number = time.monotonic(), 0
    next_kill, next_pulse, calm_since = began, began, 0.0
    while True:
        now = time.monotonic()
        if now - began > PATIENCE:
            raise Broken(f"FAILED: after {PATIENCE} s and {len(killed)} kills {left()} deliveries have not been sent")
        if number < world.messages:
            world.queue(number)
            number += 1
        if now >= next_pulse:
            world.pulse()
            next_pulse = now + PULSE
        if len(killed) < kills and now >= next_kill:
            # Every second time one that waits for an answer, if there is one.
            pid = processes.kill_one(world.dice, servers.senders() if len(killed) % 2 else ())
            killed[pid] = time.monotonic()
            next_kill = time.monotonic() + world.dice.uniform(*BETWEEN_KILLS)
        if len(killed) == kills and not calm_since and not left():
            calm_since = world.calm_since = time.monotonic()
        if calm_since:
            # Tried all the time, as if it were always due.
            Channel.objects.filter(name__in=DEAD).update(next_attempt_at=None)
            if now - calm_since >= world.calm:
                return killed
        time.sleep(0.1)


def by_key(servers: Servers) -> dict[str, list[Arrival]]:
    found: dict[str, list[Arrival]] = defaultdict(list)
    for each in servers.arrivals:
        found[each.key].append(each)
    return found


def last_of_senders(servers: Servers) -> list[Arrival]:
    """Return the last arrival from each process: what came from it before it had recorded, one after the other."""
    return list({each.sender: each for each in servers.arrivals if each.sender}.values())


def is_explained(arrival: Arrival, last: list[Arrival], killed: dict[int, float]) -> bool:
    """Return whether a message may be repeated after this arrival: it was not accepted, or nobody recorded that."""
    if not arrival.is_accepted or arrival.answer.kind == "late" or arrival.ended - arrival.begun > UNREAD:
        return True
    # The process that sent it was killed before it sent anything else. It was gone already if it is not known.
    return arrival.sender is None or (arrival.sender in killed and any(arrival is each for each in last))


def compare(world: World, servers: Servers, killed: dict[int, float]) -> int:
    """Compare what arrived with what was queued; return how many messages were repeated after they were accepted."""
    arrivals, last, repeated = by_key(servers), last_of_senders(servers), 0
    # 1. None is lost: each delivery is recorded as sent, and its message was accepted under its id.
    rows = Delivery.objects.exclude(channel__name__in=DEAD).select_related("channel", "notification")
    holds("each delivery is recorded as sent", {row.state for row in rows} == {Delivery.State.SENT})
    for row in rows:
        hexadecimal = (row.email or row.key).hex
        key = f"msg_{hexadecimal}" if row.channel else f"<{hexadecimal}@localhost>"
        accepted = [each for each in arrivals[key] if each.is_accepted]
        holds(f"delivery {row.pk} was accepted", accepted)
        text = accepted[0].content.decode() + accepted[0].subject
        holds(f"what was accepted is the message of delivery {row.pk}", row.notification.subject in text)
    for key, theirs in arrivals.items():
        # 2. A repetition is the same message.
        holds(f"{key} is one message", len({(each.lane, each.content) for each in theirs}) == 1)
        # 3. It is repeated only after a failure, or an answer that was not recorded.
        if theirs[0].lane.strip("/") not in DEAD:
            for before in theirs[:-1]:
                holds(f"{key} was repeated after an answer that nobody can know", is_explained(before, last, killed))
                repeated += before.is_accepted
    # 4. Who asks to be left alone is left alone.
    for name in BUSY:
        theirs = [each for each in servers.arrivals if each.lane == f"/{name}"]
        for before, after in pairwise(theirs):
            if before.answer.kind == "rest" and not killed_within(before, killed):
                holds(f"{name} was left alone as long as it asked", after.begun - before.ended >= RETRY_AFTER - 1)
    return repeated


def killed_within(arrival: Arrival, killed: dict[int, float]) -> bool:
    """Return whether the process that sent a message was killed while it waited for the answer, or soon after."""
    return arrival.sender is None or arrival.begun <= killed.get(arrival.sender, 0.0) <= arrival.ended + UNREAD


def delays(world: World, servers: Servers, since: float) -> list[float]:
    """Return how long each message to the healthy channel took from its commit, of those queued since then."""
    first: dict[str, float] = {}
    for each in servers.arrivals:
        first.setdefault(each.subject, each.begun)
    return [max(first[subject] - at, 0.0) for subject, at in world.queued.items() if at >= since]


def meanwhile(servers: Servers) -> int:
    """Return how many messages arrived at the healthy channel while the answer of a dead one was waited for."""
    waits = [each.begun for each in servers.arrivals if each.lane.strip("/") in DEAD]
    healthy = [each.begun for each in servers.arrivals if each.lane.strip("/") == HEALTHY]
    return sum(1 for at in healthy if any(0 < at - begun < UNREAD for begun in waits))


def main() -> None:
    log, kills, messages = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    logging.disable(logging.WARNING)
    call_command("migrate", verbosity=0, interactive=False)
    call_command("sync_periodic", verbosity=0)
    world = World(messages)
    with answering(world.plan) as servers:
        world.build(servers)
        mail = {"PORTAL_MAIL_HOST": "127.0.0.1", "PORTAL_MAIL_PORT": str(servers.mail_port), "PORTAL_MAIL_TLS": "no"}
        processes = Background(log, **mail, PORTAL_PUBLIC_URL="https://portal.example")
        try:
            killed = send_through_kills(world, servers, processes, kills)
            until(lambda: not Delivery.objects.filter(channel__name=HEALTHY, state="wanted").exists(), 120)
        finally:
            processes.stop()
        repeated = compare(world, servers, killed)
        ends = [each for each in last_of_senders(servers) if each.sender in killed]
        hit = sum(1 for each in ends if not each.ended or killed_within(each, killed))
        attempts = sum(1 for each in servers.arrivals if each.lane.strip("/") in DEAD)
        calm = delays(world, servers, world.calm_since)
        longest = max(delays(world, servers, 0.0))
        holds("messages arrive at the healthy channel while a dead one is waited for", meanwhile(servers))
        rows = Delivery.objects.exclude(channel__name__in=DEAD).count()
        print(
            f"{rows} deliveries through {len(killed)} kills, {hit} of them in a conversation: each arrived; {repeated} "
            f"were repeated after they had been accepted, with the same id. Healthy channel beside {len(DEAD)} dead "
            f"ones ({attempts} attempts): delay {median(calm):.1f} s in the median, {max(calm):.1f} s at most, "
            f"with kills {longest:.1f} s."
        )


if __name__ == "__main__":
    main()

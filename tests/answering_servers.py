"""A web server and a mail server that note what arrives, and answer as a plan says: for `tests.delivery_kills`."""

from __future__ import annotations

import contextlib
import json
import os
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MAIL = "mail"
# Seconds. The first is longer than the portal waits for an answer.
LATE, RETRY_AFTER, PATIENCE = 12, 75, 5


@dataclass
class Answer:
    """How a message is answered, after so many seconds: ok, error, rest, close, late, or never."""

    kind: str = "ok"
    seconds: float = 0.0


@dataclass
class Arrival:
    """One message that arrived. `sender` is the process that sent it, as far as the system says which."""

    lane: str
    key: str
    subject: str
    content: bytes
    sender: int | None
    answer: Answer = field(default_factory=Answer)
    begun: float = field(default_factory=time.monotonic)
    # When the answer was given; 0 before.
    ended: float = 0.0

    @property
    def is_accepted(self) -> bool:
        return self.answer.kind in ("ok", "late") and self.ended > 0


Plan = Callable[[Arrival, int], Answer]


@dataclass
class Servers:
    """Both servers, and what has arrived; `plan` says how an arrival is answered, by how many of its id there were."""

    plan: Plan
    web_port: int = 0
    mail_port: int = 0
    arrivals: list[Arrival] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    has_ended: threading.Event = field(default_factory=threading.Event)

    def note(self, arrival: Arrival) -> Arrival:
        with self.lock:
            number = sum(1 for each in self.arrivals if each.key == arrival.key)
            arrival.answer = self.plan(arrival, number)
            self.arrivals.append(arrival)
        return arrival

    def wait(self, arrival: Arrival) -> None:
        seconds = {"never": 3_600.0, "late": LATE}.get(arrival.answer.kind, arrival.answer.seconds)
        self.has_ended.wait(seconds)
        arrival.ended = time.monotonic()

    def senders(self) -> set[int]:
        """Return the processes that wait for an answer now, as long as the portal waits for one."""
        since = time.monotonic() - PATIENCE
        with self.lock:
            waiting = [each for each in self.arrivals if not each.ended and each.begun > since]
        return {each.sender for each in waiting if each.sender}


@contextlib.contextmanager
def answering(plan: Plan) -> Iterator[Servers]:
    found = Servers(plan)

    class Web(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            subject = json.loads(body)["data"]["subject"]
            sender = process_of(self.client_address[1], found.web_port)
            arrival = found.note(Arrival(self.path, self.headers["webhook-id"], subject, body, sender))
            found.wait(arrival)
            self.close_connection = True
            if arrival.answer.kind in ("close", "never"):
                return
            self.send_response({"error": 500, "rest": 429}.get(arrival.answer.kind, 200))
            if arrival.answer.kind == "rest":
                self.send_header("Retry-After", str(RETRY_AFTER))
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    class Mail(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            # A process that is killed ends the conversation in the middle.
            with contextlib.suppress(OSError):
                self.talk()

        def talk(self) -> None:
            self.say("220 here")
            while line := self.rfile.readline().decode().strip():
                word = line.upper().split()[0]
                if word == "DATA":
                    self.say("354 go on")
                    if not self.take():
                        return
                elif word == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")

        def take(self) -> bool:
            """Read a message and answer it; return whether the conversation goes on."""
            lines = list[bytes]()
            while (line := self.rfile.readline()) != b".\r\n":
                if not line:
                    # The sender is gone, and the message is none.
                    return False
                lines.append(line)
            mail: Any = message_from_bytes(b"".join(lines), policy=policy.default)
            sender = process_of(self.client_address[1], found.mail_port)
            content = mail.get_body(("plain",)).get_content().encode()
            arrival = found.note(Arrival(MAIL, mail["Message-ID"], mail["Subject"], content, sender))
            found.wait(arrival)
            if arrival.answer.kind == "close":
                return False
            self.say("451 come back later" if arrival.answer.kind == "error" else "250 kept")
            return True

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    class Quiet(ThreadingHTTPServer):
        daemon_threads, block_on_close = True, False

        def handle_error(self, request: Any, client_address: Any) -> None:
            # A process that was killed while it waited for the answer.
            pass

    class Post(socketserver.ThreadingTCPServer):
        daemon_threads, block_on_close = True, False

    with Quiet(("127.0.0.1", 0), Web) as web, Post(("127.0.0.1", 0), Mail) as mail:
        found.web_port, found.mail_port = web.server_address[1], mail.server_address[1]
        for server in (web, mail):
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield found
        finally:
            found.has_ended.set()
            web.shutdown()
            mail.shutdown()


def process_of(client: int, server: int) -> int | None:
    """Return the process at the other end of a connection, by its port; None where the system does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            parts = line.split()
            ends = [int(end.rpartition(":")[2], 16) for end in parts[1:3]]
            if ends == [client, server]:
                return owner_of(f"socket:[{parts[9]}]")
    return None


def owner_of(socket: str) -> int | None:
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            # It ended meanwhile, or belongs to someone else.
            with contextlib.suppress(OSError):
                if any(os.readlink(each) == socket for each in (process / "fd").iterdir()):
                    return int(process.name)
    return None

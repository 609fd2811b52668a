"""A mail server that keeps what it is given."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import cast


@dataclass
class Post:
    """What has arrived; `answer` is what it says to every recipient."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    answer: str = "250 ok"


@contextmanager
def post_office() -> Iterator[Post]:
    post = Post()

    class Clerk(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 here")
            while line := self.rfile.readline().decode().strip():
                word = line.upper().split()[0]
                if word == "RCPT":
                    post.recipients.append(line.partition(":")[2].strip("<>"))
                    self.say(post.answer)
                elif word == "DATA":
                    self.say("354 go on")
                    self.take()
                    self.say("250 kept")
                elif word == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")

        def take(self) -> None:
            lines = []
            while (line := self.rfile.readline()) != b".\r\n":
                # A line that begins with a dot comes with one more, for a dot alone ends the mail.
                lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
            post.mails.append(cast(EmailMessage, message_from_bytes(b"".join(lines), policy=policy.default)))

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Clerk) as server:
        server.daemon_threads = True
        post.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield post
        finally:
            server.shutdown()

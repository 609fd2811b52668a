"""The fake Prefect of one process for several: what `tests.process_kills` starts asks it over a socket."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from multiprocessing.managers import BaseManager
from typing import Any

from flows.prefect_api.records import Credential
from tests.fakes.prefect import FakePrefect

# Names of the variables with the socket and its key, for the processes that ask.
SOCKET, KEY = "SHARED_PREFECT_SOCKET", "SHARED_PREFECT_KEY"


class Shared:
    """The one fake, for one call at a time."""

    def __init__(self) -> None:
        self.fake = FakePrefect()
        self.lock = threading.RLock()

    def call(self, method: str, arguments: tuple[Any, ...], names: dict[str, Any]) -> Any:
        with self.lock:
            answer = getattr(self.fake, method)(*arguments, **names)
            return list(answer) if isinstance(answer, Iterator) else answer


class Remote:
    """A client that has each call answered by the process with the fake; its errors are raised here."""

    def __init__(self, shared: Any) -> None:
        self._shared = shared

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return lambda *arguments, **names: self._shared.call(method, arguments, names)


class Served(BaseManager):
    """The side with the fake."""


class Asked(BaseManager):
    """The side that asks: of its own, since one process can be both."""


# Process -> its client: a child must not use the socket of its parent.
CLIENTS: dict[int, Remote] = {}


def serve(shared: Shared) -> None:
    """Answer calls from a thread of this process until it ends."""
    Served.register("shared", callable=lambda: shared)
    server = Served(os.environ[SOCKET], os.environ[KEY].encode()).get_server()
    threading.Thread(target=server.serve_forever, daemon=True).start()


def connect(api_url: str, credential: Credential) -> Remote:
    """What `settings.PREFECT_CLIENT` names in these processes."""
    if os.getpid() not in CLIENTS:
        Asked.register("shared")
        manager = Asked(os.environ[SOCKET], os.environ[KEY].encode())
        manager.connect()
        CLIENTS[os.getpid()] = Remote(manager.shared())  # type: ignore[attr-defined]  # registered above
    return CLIENTS[os.getpid()]

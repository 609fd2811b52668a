"""Ports on the loopback address."""

import socket

NEARBY = 100


def is_free(port: int) -> bool:
    """Whether a server could listen here: nothing answers, and the address can be bound."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            return False
    with socket.socket() as probe:
        # As servers do: connections in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def next_free(wanted: int, *, but_not: set[int] | frozenset[int] = frozenset()) -> int:
    """Return the wanted port or the first free one after it; any free port for 0.

    Another process may take it before it is used; the server then fails to start, with the reason in its log.
    """
    if wanted:
        for port in range(wanted, min(wanted + NEARBY, 65536)):
            if port not in but_not and is_free(port):
                return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    return next_free(0, but_not=but_not) if port in but_not else port

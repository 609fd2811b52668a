"""Ports: the wanted one, or the next that is free."""

import socket
from collections.abc import Iterator

import pytest

from portal.demo.ports import is_free, next_free


@pytest.fixture(params=["127.0.0.1", "0.0.0.0"])  # somebody else's server may listen everywhere
def taken(request: pytest.FixtureRequest) -> Iterator[int]:
    with socket.socket() as server:
        server.bind((request.param, 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_taken_port_is_passed_over(taken: int) -> None:
    assert not is_free(taken)
    assert next_free(taken) > taken


def test_a_free_port_is_kept() -> None:
    port = next_free(0)
    assert is_free(port)
    assert next_free(port) == port


def test_a_port_promised_to_another_part_is_passed_over() -> None:
    port = next_free(0)
    assert next_free(port, but_not={port}) > port

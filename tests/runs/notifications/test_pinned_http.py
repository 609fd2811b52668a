"""The addresses that a channel may reach, and the one that it is connected to."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

import pytest

from runs.notifications import pinned_http
from tests.receiver import receiver

INSIDE = [
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
    *("255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:db8::1"),
]


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_that_is_not_of_the_internet_is_private(address: str) -> None:
    assert not pinned_http.is_public(ip_address(address))


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::5db8:d70e"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert pinned_http.is_public(ip_address(address))


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]"])
def test_a_private_address_is_refused_in_whatever_spelling(host: str) -> None:
    with receiver() as inside, pytest.raises(pinned_http.NoAnswer) as error:
        pinned_http.post(f"http://{host}:{inside.port}/x", b"{}", {}, allows_private=False)
    assert error.value.is_final
    assert inside.requests == []


def test_a_name_is_resolved_once_and_that_address_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked a second time it would lead elsewhere, past the check."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def answer(host: str, port: Any, *args: Any, **options: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1" if host == "name.example" else host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    with receiver() as inside:
        found = pinned_http.post(f"http://name.example:{inside.port}/x", b"{}", {}, allows_private=True)
    assert found.status == 200
    assert asked.count("name.example") == 1
    assert set(asked) == {"name.example", "127.0.0.1"}
    assert inside.requests[0].headers["host"] == f"name.example:{inside.port}"


def test_an_answer_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinned_http, "DEADLINE", 0.2)
    with receiver(hangs=True) as hanging, pytest.raises(pinned_http.NoAnswer) as error:
        pinned_http.post(hanging.address, b"{}", {}, allows_private=True)
    assert not error.value.is_final
    assert "T0KEN" not in str(error.value)


def test_of_a_long_answer_only_the_beginning_is_read() -> None:
    with receiver() as talkative:
        talkative.text = "x" * 10**6
        found = pinned_http.post(talkative.address, b"{}", {}, allows_private=True)
    assert len(found.text) == pinned_http.LARGEST_ANSWER

"""The addresses that a channel may reach, and the one that it is connected to."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address
from threading import Thread
from typing import Any

import pytest

from runs.notifications import pinned_http
from tests.receiver import Receiver, receiver

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


# Through a proxy


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A proxy that the variables of the environment name."""
    with receiver() as found:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{found.port}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        yield found


def test_a_proxy_of_the_environment_changes_nothing(proxy: Receiver) -> None:
    with receiver() as inside:
        assert pinned_http.post(inside.address, b"{}", {}, allows_private=True).status == 200
    assert len(inside.requests) == 1
    assert proxy.requests == []
    assert pinned_http.proxy_environment() == {}


@pytest.mark.parametrize("is_named", [True, False])
def test_a_proxy_that_the_setting_says_resolves_the_name(
    proxy: Receiver, settings: Any, monkeypatch: pytest.MonkeyPatch, is_named: bool
) -> None:
    asked: list[str] = []
    real = socket.getaddrinfo

    def answer(host: str, *args: Any, **options: Any) -> Any:
        asked.extend([] if options.get("flags") == socket.AI_NUMERICHOST else [host])
        return real(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    settings.OUTGOING_PROXY = f"http://127.0.0.1:{proxy.port}" if is_named else "environment"
    assert pinned_http.post("http://hooks.example/x", b"{}", {}, allows_private=False).status == 200
    assert [each.path for each in proxy.requests] == ["http://hooks.example/x"]
    assert set(asked) == {"127.0.0.1"}
    assert {"HTTP_PROXY", "HTTPS_PROXY"} <= set(pinned_http.proxy_environment())


def test_what_no_proxy_excepts_is_resolved_and_checked(
    proxy: Receiver, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OUTGOING_PROXY = "environment"
    monkeypatch.setenv("NO_PROXY", "localhost")
    with pytest.raises(pinned_http.NoAnswer) as error:
        pinned_http.post("http://localhost/x", b"{}", {}, allows_private=False)
    assert error.value.is_final
    assert proxy.requests == []


@pytest.mark.parametrize("host", ["localhost", "intranet", "127.1", "2130706433", "0x7f000001", "[::1]", "10.0.0.1"])
def test_what_is_private_without_resolving_it_is_not_asked_of_a_proxy(
    proxy: Receiver, settings: Any, host: str
) -> None:
    settings.OUTGOING_PROXY = f"http://127.0.0.1:{proxy.port}"
    with pytest.raises(pinned_http.NoAnswer) as error:
        pinned_http.post(f"https://{host}/x", b"{}", {}, allows_private=False)
    assert error.value.is_final
    assert proxy.requests == []


def test_a_channel_into_a_private_network_is_reached_directly(proxy: Receiver, settings: Any) -> None:
    settings.OUTGOING_PROXY = f"http://127.0.0.1:{proxy.port}"
    with receiver() as inside:
        pinned_http.post(inside.address, b"{}", {}, allows_private=True)
    assert (len(inside.requests), len(proxy.requests)) == (1, 0)


def test_https_is_a_tunnel_of_which_the_proxy_learns_the_name_alone(settings: Any) -> None:
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            connection, _ = server.accept()
            with connection:
                heard.append(connection.recv(4096))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

        Thread(target=refuse, daemon=True).start()
        settings.OUTGOING_PROXY = f"http://user:pa55word@127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(pinned_http.NoAnswer) as error:
            pinned_http.post("https://hooks.example/T0KEN", b"a message", {}, allows_private=False)
    assert heard[0].startswith(b"CONNECT hooks.example:443 HTTP/1.1")
    assert b"T0KEN" not in heard[0]
    assert b"a message" not in heard[0]
    assert not error.value.is_final
    assert "pa55word" not in str(error.value)

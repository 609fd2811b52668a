"""One POST to an address that an administrator entered: the name is resolved once, and that address is connected to.

Addresses of private networks are refused after the name was resolved, unless the channel allows them: a name can lead
anywhere, and to another place a second later. No redirect is followed, and all of it ends within a deadline, however
slowly the other side answers.

With an outgoing proxy (`settings.OUTGOING_PROXY`) the proxy resolves the name, and decides where it may lead. Only what
can be judged without resolving is refused here. Variables such as HTTP_PROXY count only if the setting says so.
"""

from __future__ import annotations

import os
import socket
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from threading import Thread
from urllib.parse import urlsplit

import httpx
from django.conf import settings
from django.utils import timezone

from flows.prefect_api.error_messages import explain_error

# Seconds for all of it; shorter than the lease of a delivery.
DEADLINE = 10.0
TIMEOUT = httpx.Timeout(5.0, connect=3.0)
# Bytes of an answer; more is not read.
LARGEST_ANSWER = 4096
# Addresses of a name that are tried, such as one of IPv6 that cannot be reached from here and one of IPv4.
MOST_ADDRESSES = 3
# IPv4 in IPv6 by a gateway: the address that counts is the inner one.
NAT64 = IPv6Network("64:ff9b::/96")
INNER_BITS = 0xFFFFFFFF
# The value of the setting for what the variables of the environment say.
ENVIRONMENT = "environment"
PROXY_VARIABLES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other side answered: status, the beginning of its text, and how long it wants to be left alone."""

    status: int
    text: str
    retry_after: timedelta | None


class NoAnswer(Exception):
    """There was no answer; the message is a label without any part of the address.

    `is_final`: the next attempt would end the same way.
    """

    def __init__(self, label: str, *, is_final: bool = False) -> None:
        super().__init__(label)
        self.is_final = is_final


class PrivateAddress(OSError):
    """The name leads to an address that the channel may not reach."""


def post(address: str, content: bytes, headers: Mapping[str, str], *, allows_private: bool) -> Answer:
    """Send one request and return the answer; raises `NoAnswer`. The other side may have received it all the same."""
    found: list[Answer | Exception] = []

    def exchange() -> None:
        try:
            found.append(send(address, content, headers, allows_private=allows_private))
        except Exception as error:
            found.append(error)

    # In a thread, because nothing else limits how long a name takes to resolve, or headers that come byte by byte.
    thread = Thread(target=exchange, daemon=True)
    thread.start()
    thread.join(DEADLINE)
    answer = found[0] if found else TimeoutError()
    if isinstance(answer, Answer):
        return answer
    if isinstance(answer, PrivateAddress):
        raise NoAnswer("The name leads to a private network, which the channel may not reach", is_final=True)
    # Not the error's own text, which can quote the address.
    raise NoAnswer(explain_error(answer).label)


def send(address: str, content: bytes, headers: Mapping[str, str], *, allows_private: bool) -> Answer:
    proxy = "" if allows_private else proxy_for(address)
    transport: httpx.BaseTransport = ProxyTransport(proxy) if proxy else PinnedTransport(allows_private=allows_private)
    with (
        httpx.Client(transport=transport, timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client,
        client.stream("POST", address, content=content, headers=dict(headers)) as response,
    ):
        body = b""
        for part in response.iter_bytes():
            body += part
            if len(body) >= LARGEST_ANSWER:
                break
        text = body[:LARGEST_ANSWER].decode(errors="replace")
        return Answer(response.status_code, text, retry_after(response.headers.get("retry-after", "")))


class PinnedTransport(httpx.BaseTransport):
    """Connects to the address that it has resolved and checked. Certificates are those of the name."""

    def __init__(self, *, allows_private: bool) -> None:
        self.allows_private = allows_private
        self.inner = httpx.HTTPTransport(trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.raw_host.decode("ascii")
        failure: httpx.TransportError | None = None
        for address in resolve(host, request.url.port, allows_private=self.allows_private)[:MOST_ADDRESSES]:
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                # With the header Host of the name.
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return self.inner.handle_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                # Nothing was sent: another address of the name can be tried.
                failure = error
        raise failure or httpx.ConnectError("no address")

    def close(self) -> None:
        self.inner.close()


class ProxyTransport(httpx.BaseTransport):
    """Asks a proxy to connect. Certificates are those of the name, as without one: TLS goes through the proxy."""

    def __init__(self, proxy: str) -> None:
        self.inner = httpx.HTTPTransport(proxy=httpx.Proxy(proxy), trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        require_name(request.url.raw_host.decode("ascii"))
        return self.inner.handle_request(request)

    def close(self) -> None:
        self.inner.close()


def proxy_for(address: str) -> str:
    """Return the proxy through which an address is reached, "" for none."""
    if settings.OUTGOING_PROXY != ENVIRONMENT:
        return str(settings.OUTGOING_PROXY)
    parts, found = urlsplit(address), urllib.request.getproxies_environment()
    is_direct = urllib.request.proxy_bypass_environment(parts.netloc, found)  # type: ignore[attr-defined]  # it exists
    return "" if is_direct else found.get(parts.scheme, found.get("all", ""))


def proxy_environment() -> dict[str, str]:
    """Return the variables that have another process use the same proxy, or none."""
    if settings.OUTGOING_PROXY == ENVIRONMENT:
        return {name: value for name, value in os.environ.items() if name.upper() in PROXY_VARIABLES}
    return dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), settings.OUTGOING_PROXY) if settings.OUTGOING_PROXY else {}


def require_name(host: str) -> None:
    """Refuse a private address, in whatever spelling, and a name without a dot, which is of this network."""
    try:
        rows = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        rows = []
    addresses = [ip_address(str(row[4][0]).partition("%")[0]) for row in rows]
    if not (all(map(is_public, addresses)) if addresses else "." in host.strip(".")):
        raise PrivateAddress


def resolve(host: str, port: int | None, *, allows_private: bool) -> list[str]:
    """Return the addresses of a name that may be connected to; raises `PrivateAddress` if there are others only."""
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(row[4][0]) for row in rows))
    found = [each for each in addresses if allows_private or is_public(ip_address(each.partition("%")[0]))]
    if not found:
        raise PrivateAddress
    return found


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address is one of the Internet, and so is the one that it contains."""
    inner: IPv4Address | None = None
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in NAT64:
            inner = IPv4Address(int(address) & INNER_BITS)
    is_outside = address.is_global and not address.is_multicast and not address.is_reserved
    # A mapped address is as good as the one in it.
    return is_public(inner) if inner else is_outside


def retry_after(text: str) -> timedelta | None:
    """Return how long to wait by the header Retry-After, seconds or a date; None if it says nothing."""
    text = text.strip()
    if text.isdecimal() and len(text) <= 9:
        return timedelta(seconds=int(text))
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(as_utc(at) - timezone.now(), timedelta(0))


def as_utc(at: datetime) -> datetime:
    # A date of HTTP is in GMT, also where it says nothing.
    return at if at.tzinfo else at.replace(tzinfo=UTC)

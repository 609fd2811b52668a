"""One POST to an address that an administrator entered: the name is resolved once, and that address is connected to.

Addresses of private networks are refused after the name was resolved, unless the channel allows them: a name can lead
anywhere, and to another place a second later. No redirect is followed, no proxy of the environment is used, and all of
it ends within a deadline, however slowly the other side answers.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from threading import Thread

import httpx
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
    transport = PinnedTransport(allows_private=allows_private)
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

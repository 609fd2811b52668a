"""The address of a channel: what is accepted of each kind, and what of it is no secret."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from runs.errors import Refused
from runs.models import Channel

LONGEST_ADDRESS = 2000
# Of the DNS.
LONGEST_HOST = 253
# Printable ASCII without spaces: an address is one line, and names of hosts are in their ASCII spelling.
TEXT = re.compile(r"[\x21-\x7e]+")
# Services that Apprise sends to, by scheme. Of each the host is part of Apprise: an address holds keys only, and can
# lead nowhere else.
SERVICES: dict[str, str] = {
    "discord": "Discord",
    "gchat": "Google Chat",
    "opsgenie": "Opsgenie",
    "pagerduty": "PagerDuty",
    "pagertree": "PagerTree",
    "pover": "Pushover",
    "signl4": "SIGNL4",
    "splunk": "Splunk On-Call",
    "tgram": "Telegram",
    "wxteams": "Webex",
}
# Parameters of such an address. Others could switch off the check of certificates, or read files.
SERVICE_PARAMETERS = frozenset({"region"})


@dataclass(frozen=True, slots=True)
class Address:
    """An address that was checked, and where it leads without what is secret of it."""

    text: str
    destination: str


def parse(kind: str, text: str, *, allows_private: bool) -> Address:
    """Return a checked address; raises `Refused` with code `channel.address`. No message repeats any of it."""
    text = text.strip()
    if len(text) > LONGEST_ADDRESS or not TEXT.fullmatch(text):
        raise Refused("channel.address", f"Enter an address of up to {LONGEST_ADDRESS} characters without spaces.")
    return parse_service(text) if kind == Channel.Kind.SERVICE else parse_web(text, allows_private=allows_private)


def parse_web(text: str, *, allows_private: bool) -> Address:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise Refused("channel.address", "The address is not a valid URL.") from error
    if not 0 < len(host) <= LONGEST_HOST or parts.scheme not in ("https", "http"):
        raise Refused("channel.address", "The address must begin with https:// and contain a host name.")
    if parts.scheme == "http" and not allows_private:
        raise Refused(
            "channel.address",
            "The address must begin with https://. Only channels that may reach private networks can use http://.",
        )
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise Refused("channel.address", "The address must not contain a user name, a password or a fragment.")
    return Address(text, f"{host}:{port}" if port else host)


def parse_service(text: str) -> Address:
    scheme, _, rest = text.partition("://")
    if scheme not in SERVICES or not rest:
        schemes = ", ".join(f"{name}://" for name in SERVICES)
        raise Refused("channel.address", f"The address of a service begins with one of {schemes}.")
    if set(parse_qs(rest.partition("?")[2], keep_blank_values=True)) - SERVICE_PARAMETERS:
        raise Refused("channel.address", "The only parameter that the address of a service can have is region.")
    return Address(text, SERVICES[scheme])

"""Messages for failed calls to Prefect. None repeats anything that was sent, because it may contain secrets."""

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import httpx

from flows import plain_text
from flows.prefect_api.records import JSON

NOT_PREFECT = "is not a Prefect API. The URL usually ends in /api."


class Cause(NamedTuple):
    """Why a connection failed: a code, a label, and what to do. Neither text ends with a full stop."""

    code: str
    label: str
    fix: str


LOST = Cause("connection.lost", "Connection lost before a response", "Check that the server is running")
TIMED_OUT = Cause("connection.timeout", "Response timed out", "Check the load of the server")
FAILED = Cause("connection.failed", "Connection failed", "Check the URL and the network")

# OpenSSL's code of a failed verification -> cause; anything else is `tls.certificate`.
EXPIRED = Cause("tls.expired", "TLS certificate expired", "Renew it on the server")
OTHER_HOST = Cause("tls.host", "TLS certificate of another host", "Use the host name in the certificate as the API URL")
CERTIFICATES: dict[int, Cause] = {
    9: Cause("tls.not_yet_valid", "TLS certificate not valid yet", "Check the clocks of the server and of the portal"),
    10: EXPIRED,
    62: OTHER_HOST,
    64: OTHER_HOST,
}

# The first row that an exception, or one it was raised from, is an instance of. Subclasses therefore come before
# their parents: SSLError, gaierror, ConnectionRefusedError and TimeoutError are all OSErrors.
CAUSES: tuple[tuple[type[BaseException], Cause], ...] = (
    (
        ssl.SSLCertVerificationError,
        Cause("tls.certificate", "TLS certificate not trusted", "Correct the URL, or set SSL_CERT_FILE to its CA"),
    ),
    (
        ssl.SSLError,
        Cause("tls.protocol", "TLS handshake failed", "Check whether the URL should begin with http:// or https://"),
    ),
    (socket.gaierror, Cause("connection.dns", "Host name not found", "Check the URL")),
    (
        ConnectionRefusedError,
        Cause("connection.refused", "Connection refused", "Check the URL and that the server is running"),
    ),
    (
        httpx.ConnectTimeout,
        Cause("connection.timeout", "Connection timed out", "Check the URL, the network and the firewall"),
    ),
    (httpx.PoolTimeout, Cause("connection.pool", "All connections are in use", "Try again")),
    (httpx.TimeoutException, TIMED_OUT),
    (TimeoutError, TIMED_OUT),
    (httpx.ProxyError, Cause("connection.proxy", "Proxy error", "Check the proxy settings")),
    (
        httpx.LocalProtocolError,
        Cause("request.invalid", "Invalid request", "Check the credential for stray characters"),
    ),
    (httpx.ReadError, LOST),
    (httpx.WriteError, LOST),
    (OSError, FAILED),
    (httpx.ConnectError, FAILED),
    (Exception, LOST),
)

# What follows the value in a sentence of jsonschema's. The value itself may be a secret and is cut off.
_AFTER_VALUE = re.compile(
    r".*\s(?P<tail>(?:is not of type|is not one of|is not valid under|is too (?:long|short)|is (?:less|greater) than"
    r"|is not a multiple of|does not match|has non-unique|should be non-empty|was expected)\b.*)",
    re.DOTALL,
)
_MISSING = re.compile(r"'\w+' is a required property")
_VALIDATION = re.compile(r"Validation failed(?: for field '(?P<field>.*?)')?\. Failure reason: (?P<why>.*)", re.DOTALL)
_HYDRATION = "Error hydrating flow run parameters"
_LONGEST = 300


def explain_error(error: BaseException) -> Cause:
    """Look up the exception and all it was raised from, never its text: httpx quotes header values in some."""
    # httpx wraps what the socket raised: the informative exception is at the end of the chain, so a row that matches
    # any link wins over a later row that matches the outer one.
    chain = tuple(_chain(error))
    for link in chain:
        if isinstance(link, ssl.SSLCertVerificationError) and link.verify_code in CERTIFICATES:
            return CERTIFICATES[link.verify_code]
    return next(cause for kind, cause in CAUSES if any(isinstance(link, kind) for link in chain))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the exception and what it was raised from, outermost first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def explain_response(body: JSON) -> str:
    """Return the reason in a 4xx response, without the request that Prefect echoes; "" if there is none."""
    if not isinstance(body, dict):
        return ""
    # A 422 has its list under `exception_detail`, one made by FastAPI itself under `detail`.
    for problems in (body.get("exception_detail"), body.get("detail")):
        if isinstance(problems, list):
            return _shorten("; ".join(_problem(problem) for problem in problems if isinstance(problem, dict)))
    for text in (body.get("detail"), body.get("exception_message")):
        if isinstance(text, str):
            return _shorten(_reword(text))
    return ""


def _problem(problem: Mapping[str, JSON]) -> str:
    """Format one pydantic error. Only `loc` and `msg` are read: `input` and `ctx` hold what was sent."""
    steps = problem.get("loc")
    place = ".".join(str(step) for step in steps if step != "body") if isinstance(steps, list) else ""
    return f"{place}: {problem.get('msg', 'is not valid')}" if place else str(problem.get("msg", "is not valid"))


def _reword(text: str) -> str:
    """Replace Prefect's sentence about a parameter by one without the parameter's value."""
    if text.startswith(_HYDRATION):
        return "the parameters contain a template, JSON text or variable that Prefect could not resolve"
    found = _VALIDATION.search(text)
    if not found:
        return text
    place = f"parameter {found['field']}" if found["field"] else "the parameters"
    if _MISSING.fullmatch(found["why"]):
        return f"{place}: {found['why']}"
    tail = _AFTER_VALUE.fullmatch(found["why"])
    # A sentence that is not in the pattern has an unknown shape, so it could quote the value anywhere.
    return (
        f"{place}: the value {tail['tail']}" if tail else f"{place}: the value does not match the deployment's schema"
    )


def _shorten(text: str) -> str:
    words = plain_text.line(text).rstrip(".")
    return words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"

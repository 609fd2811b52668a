"""Why a talk with Prefect failed, in words for the reader; nothing that was sent is ever repeated."""

import re
import socket
import ssl
from collections.abc import Iterator, Mapping

import httpx

from flows.prefect_api.records import JSON

LOST = "the connection was lost before an answer came; check that its server is running"
NOT_PREFECT = "answered, but not as a Prefect API; the address usually ends in /api"

# The first row that an exception, or one it was raised from, is an instance of.
WHY: tuple[tuple[type[BaseException], str], ...] = (
    (
        ssl.SSLCertVerificationError,
        "its certificate is not trusted here; correct the address or name its authority in SSL_CERT_FILE",
    ),
    (ssl.SSLError, "it does not speak TLS there; check whether the address begins with http:// or https://"),
    (socket.gaierror, "its host name is not known; check the address"),
    (ConnectionRefusedError, "nothing listens there; check the address and that the server is running"),
    (httpx.ConnectTimeout, "it did not take the connection in time; check the address, network and firewall"),
    (httpx.PoolTimeout, "all connections to it are in use; try again"),
    (httpx.TimeoutException, "it did not answer in time; check how busy its server is"),
    (TimeoutError, "it did not answer in time; check the address and how busy its server is"),
    (httpx.ProxyError, "the proxy on the way to it refused; check the proxy settings"),
    (httpx.LocalProtocolError, "the request could not be written; check the credential for stray characters"),
    (httpx.ReadError, LOST),
    (httpx.WriteError, LOST),
    (OSError, "no connection could be made; check the address and the network"),
    (httpx.ConnectError, "no connection could be made; check the address and the network"),
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


def explain_error(error: BaseException) -> str:
    """A table lookup over the exception and all it was raised from; never the exception's own text."""
    chain = tuple(_chain(error))
    return next(words for kind, words in WHY if any(isinstance(link, kind) for link in chain))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def explain_response(body: JSON) -> str:
    """What a 4xx answer of Prefect says, without the request it echoes; empty if it says nothing."""
    if not isinstance(body, dict):
        return ""
    for problems in (body.get("exception_detail"), body.get("detail")):
        if isinstance(problems, list):
            return _shorten("; ".join(_problem(problem) for problem in problems if isinstance(problem, dict)))
    for said in (body.get("detail"), body.get("exception_message")):
        if isinstance(said, str):
            return _shorten(_reworded(said))
    return ""


def _problem(problem: Mapping[str, JSON]) -> str:
    """One pydantic error. Only `loc` and `msg` are read: `input` and `ctx` hold what was sent."""
    steps = problem.get("loc")
    place = ".".join(str(step) for step in steps if step != "body") if isinstance(steps, list) else ""
    return f"{place}: {problem.get('msg', 'is not valid')}" if place else str(problem.get("msg", "is not valid"))


def _reworded(said: str) -> str:
    if said.startswith(_HYDRATION):
        return "the parameters hold a template, JSON text or variable that it could not fill in"
    found = _VALIDATION.search(said)
    if not found:
        return said
    place = f"parameter {found['field']}" if found["field"] else "the parameters"
    if _MISSING.fullmatch(found["why"]):
        return f"{place}: {found['why']}"
    tail = _AFTER_VALUE.fullmatch(found["why"])
    return f"{place}: the value {tail['tail']}" if tail else f"{place}: the value does not fit the deployment's schema"


def _shorten(said: str) -> str:
    words = " ".join(said.split()).rstrip(".")
    return words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"

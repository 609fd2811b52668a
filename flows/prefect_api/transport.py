"""How one Prefect API is talked to: time limits, retries, CSRF, and every failure as an error with a sentence."""

import base64
import json
import threading
import time
from collections.abc import Callable, Collection, Mapping
from uuid import uuid4

import httpx

from flows.prefect_api import error_messages
from flows.prefect_api.records import JSON, Credential, NotFound, Rejected, Unauthorized, Uncertain, Unreachable

TIMEOUT = httpx.Timeout(10, connect=3)
# Prefect's server hangs up after five idle seconds without a word; we let go first.
IDLE_SECONDS = 3
PAUSES = (0.1, 0.4)

_NOTHING_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)
_READ_AGAIN = (httpx.ConnectError, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
_BUSY = frozenset({429, 503})

AUTHORIZATION: Mapping[str, Callable[[str], dict[str, str]]] = {
    "none": lambda secret: {},
    "basic": lambda secret: {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"},
    "key": lambda secret: {"Authorization": f"Bearer {secret}"},
}


class TransientError(Unreachable):
    """It answered 500, which may be about one row of what was asked for."""


class Transport:
    """The connections to one environment. `act` in every call completes "could not …": an infinitive."""

    def __init__(self, api_url: str, credential: Credential, *, transport: httpx.BaseTransport | None = None) -> None:
        self.url = _checked(api_url)
        self.where = f"Prefect at {self.url}"
        self._csrf: dict[str, str] = {}
        # A refresh voids the older token of the same client id, so threads share one id and take turns.
        self._csrf_client = uuid4().hex
        self._csrf_lock = threading.Lock()
        trust = httpx.create_ssl_context()
        headers = httpx.Headers(
            {
                "User-Agent": "prefect-operations-portal",
                "Content-Type": "application/json",
                **AUTHORIZATION[credential.kind](credential.secret.strip()),
            },
            encoding="utf-8",
        )

        def client(limits: httpx.Limits) -> httpx.Client:
            return httpx.Client(
                base_url=self.url, headers=headers, timeout=TIMEOUT, limits=limits, verify=trust, transport=transport
            )

        self._reads = client(httpx.Limits(keepalive_expiry=IDLE_SECONDS))
        # A write never meets a stale connection, which would leave its outcome unknown.
        self._writes = client(httpx.Limits(max_keepalive_connections=0))

    def close(self) -> None:
        self._reads.close()
        self._writes.close()

    def read(
        self, method: str, path: str, body: JSON = None, *, act: str, params: Mapping[str, str] | None = None
    ) -> JSON:
        """Ask what may be asked twice: plain connection failures and "busy" are tried again, shortly."""
        for pause in (*PAUSES, None):
            try:
                response = self._send(self._reads, method, path, body, params)
            except httpx.RequestError as error:
                if pause is None or not isinstance(error, _READ_AGAIN):
                    raise self._unreachable(act, error_messages.explain_error(error)) from None
            else:
                if pause is None or response.status_code not in _BUSY:
                    break
            time.sleep(pause)
        if response.status_code >= 500 or response.status_code in _BUSY:
            kind = TransientError if response.status_code == 500 else Unreachable
            label = "Server busy" if response.status_code in _BUSY else "Server error"
            raise kind(
                f"{label} ({response.status_code}): could not {act} at {self.url}. See the log of the Prefect server.",
                code="server.error",
                status=response.status_code,
            )
        return self._answer(response, act)

    def write(self, path: str, body: JSON, *, act: str, quiet: Collection[str] = ()) -> JSON:
        """Ask once. What may have arrived and was not answered is Uncertain; no refusal repeats a `quiet` value."""
        try:
            response = self._send(self._writes, "POST", path, body)
        except _NOTHING_SENT as error:
            raise self._unreachable(act, error_messages.explain_error(error), " Nothing was sent.") from None
        except httpx.RequestError as error:
            cause = error_messages.explain_error(error)
            raise self.uncertain(act, cause.label, code=cause.code) from None
        if response.status_code == 429:
            raise Unreachable(
                f"Too many requests (429): could not {act} at {self.url}. Try again later.",
                code="server.busy",
                status=429,
            )
        if response.status_code >= 500 or response.status_code == 408:
            raise self.uncertain(act, f"Server error ({response.status_code})", code="server.error")
        return self._answer(response, act, quiet)

    def _unreachable(self, act: str, cause: error_messages.Cause, note: str = "") -> Unreachable:
        return Unreachable(f"{cause.label}: could not {act} at {self.url}. {cause.fix}.{note}", code=cause.code)

    def uncertain(self, act: str, why: str, *, code: str) -> Uncertain:
        return Uncertain(
            f"{why}: {self.where} did not confirm the request to {act}. It may have been done;"
            " repeating the request is safe, it is not done twice.",
            code=code,
        )

    def not_prefect(self, status: int) -> Rejected:
        return Rejected(f"{self.url} {error_messages.NOT_PREFECT}", code="server.not_prefect", status=status)

    def _send(
        self, client: httpx.Client, method: str, path: str, body: JSON, params: Mapping[str, str] | None = None
    ) -> httpx.Response:
        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        used = self._csrf
        response = client.request(method, path, content=content, params=params, headers=used)
        if response.status_code == 403 and "csrf" in response.text[:500].lower():
            # Refused before anything was done, so sending it again is safe for a write too.
            response = client.request(method, path, content=content, params=params, headers=self._new_csrf(used))
        return response

    def _new_csrf(self, used: dict[str, str]) -> dict[str, str]:
        with self._csrf_lock:
            if self._csrf is used:
                answer = self._reads.get("/csrf-token", params={"client": self._csrf_client})
                if answer.is_success and _is_json(answer) and isinstance(given := answer.json(), dict):
                    self._csrf = {
                        "Prefect-Csrf-Client": self._csrf_client,
                        "Prefect-Csrf-Token": str(given.get("token", "")),
                    }
            return self._csrf

    def _answer(self, response: httpx.Response, act: str, quiet: Collection[str] = ()) -> JSON:
        status = response.status_code
        if status in (401, 403):
            raise Unauthorized(
                f"Authentication failed ({status}): could not {act} at {self.url}."
                " Update the environment's password or API key.",
                code="credential.refused",
                status=status,
            )
        if status == 204:
            return None
        # Without /api the address leads to Prefect's pages, which answer anything; a route that Prefect
        # does not know says exactly "Not Found", while a missing deployment or run is named.
        if not _is_json(response) or status < 200 or 300 <= status < 400 or status == 405:
            raise self.not_prefect(status)
        try:
            body: JSON = response.json()
        except ValueError:
            raise self.not_prefect(status) from None
        if status < 300:
            return body
        reason = error_messages.explain_response(body)
        if any(value in reason for value in quiet):
            reason = "the reason quotes a parameter value and is not shown"
        if status == 404:
            if reason in ("Not Found", ""):
                raise self.not_prefect(status)
            raise NotFound(
                f"Not found (404): could not {act} at {self.url} ({reason}).", code="object.not_found", status=status
            )
        raise Rejected(
            f"{self.where} rejected the request to {act}: {reason or f'no reason given ({status})'}.",
            code="request.rejected",
            status=status,
        )


def _is_json(response: httpx.Response) -> bool:
    return "json" in response.headers.get("content-type", "")


def _checked(api_url: str) -> str:
    """The address without its trailing slash; refused if it could not be one, or carries a password."""
    try:
        url = httpx.URL(api_url.strip())
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise Rejected("The API URL must begin with http:// or https:// and contain a host name.", code="url.invalid")
    if url.userinfo:
        raise Rejected(
            f"The API URL of {url.host} contains a password. Enter it as the credential instead.", code="url.password"
        )
    return str(url.copy_with(query=None, fragment=None)).rstrip("/")

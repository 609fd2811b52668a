"""HTTP transport to one Prefect API: timeouts, retries, CSRF, and every failure as a `PrefectError`."""

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping
from uuid import uuid4

import httpx

from flows import plain_text
from flows.prefect_api import error_messages
from flows.prefect_api.records import JSON, Credential, NotFound, Rejected, Unauthorized, Uncertain, Unreachable

TIMEOUT = httpx.Timeout(10, connect=3)  # seconds
# Prefect's server closes idle connections after five seconds unannounced; the client closes them first.
IDLE_SECONDS = 3
LONGEST_ADDRESS = 200
MEDIA_TYPE = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}", re.ASCII)
PAUSES = (0.1, 0.4)  # seconds before the second and the third attempt of a read

# Raised before the request left, so a write may be repeated. ReadError and WriteError are not here: the server may have
# executed what it received.
_NOTHING_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)
# Not the timeouts: a third attempt at a server that is too slow would hold the worker for half a minute.
_RETRIED_READS = (httpx.ConnectError, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
_BUSY = frozenset({429, 503})  # on SQLite about one create in twenty answers 503

AUTHORIZATION: Mapping[str, Callable[[str], dict[str, str]]] = {
    "none": lambda secret: {},
    "basic": lambda secret: {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"},
    "key": lambda secret: {"Authorization": f"Bearer {secret}"},
}


class TransientError(Unreachable):
    """Prefect answered 500, which may be caused by a single row of the list."""


class Transport:
    """The connections to one environment. `act` in every call completes "could not …": an infinitive."""

    def __init__(self, api_url: str, credential: Credential, *, transport: httpx.BaseTransport | None = None) -> None:
        self.url = _validate_url(api_url)
        self.where = f"Prefect at {self.url}"
        self._csrf: dict[str, str] = {}
        # A refresh voids the older token of the same client id, so threads share one id and refresh one at a time.
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
        # Writes never reuse a connection: a stale one would leave the outcome unknown.
        self._writes = client(httpx.Limits(max_keepalive_connections=0))

    def close(self) -> None:
        self._reads.close()
        self._writes.close()

    def read(
        self, method: str, path: str, body: JSON = None, *, act: str, params: Mapping[str, str] | None = None
    ) -> JSON:
        """Send a request that may be repeated. Connection failures, 429 and 503 are retried twice."""
        for pause in (*PAUSES, None):
            try:
                response = self._send(self._reads, method, path, body, params)
            except httpx.RequestError as error:
                if pause is None or not isinstance(error, _RETRIED_READS):
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
        return self._parse(response, act)

    def write(self, path: str, body: JSON, *, act: str, hidden: Collection[str] = (), method: str = "POST") -> JSON:
        """Send a request once, without retries. Raise `Uncertain` if it may have been executed.

        No error repeats a value in `hidden`.
        """
        try:
            response = self._send(self._writes, method, path, body)
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
        return self._parse(response, act, hidden)

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

    def _redirected(self, response: httpx.Response) -> Rejected:
        """Redirects are not followed: the credential belongs to this address alone."""
        # Without user, query and fragment, which can hold secrets. httpx itself refuses an address that is not valid.
        target = response.url.join(response.headers.get("location", ""))
        where = plain_text.line(f"{target.scheme}://{target.netloc.decode('ascii')}{target.path}")[:LONGEST_ADDRESS]
        return Rejected(
            f"{self.url} redirects to {where}. Set the API URL to where Prefect answers without a redirect.",
            code="server.redirect",
            status=response.status_code,
        )

    def _not_json(self, response: httpx.Response) -> Rejected:
        kind = MEDIA_TYPE.match(response.headers.get("content-type", ""))
        return Rejected(
            f"{self.url} answered with {kind[0] if kind else 'no content type'} instead of JSON, as a sign-in page or "
            "a URL without /api does. Check the URL, and the credential of a proxy in front of Prefect.",
            code="server.not_json",
            status=response.status_code,
        )

    def _send(
        self, client: httpx.Client, method: str, path: str, body: JSON, params: Mapping[str, str] | None = None
    ) -> httpx.Response:
        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        used = self._csrf
        response = client.request(method, path, content=content, params=params, headers=used)
        if response.status_code == 403 and "csrf" in response.text[:500].lower():
            # Refused before anything was executed, so repeating it is safe for a write too.
            response = client.request(method, path, content=content, params=params, headers=self._new_csrf(used))
        return response

    def _new_csrf(self, used: dict[str, str]) -> dict[str, str]:
        with self._csrf_lock:
            # Another thread may have refreshed while this one waited for the lock; then its token is used.
            if self._csrf is used:
                answer = self._reads.get("/csrf-token", params={"client": self._csrf_client})
                if answer.is_success and _is_json(answer) and isinstance(token := answer.json(), dict):
                    self._csrf = {
                        "Prefect-Csrf-Client": self._csrf_client,
                        "Prefect-Csrf-Token": str(token.get("token", "")),
                    }
            return self._csrf

    def _parse(self, response: httpx.Response, act: str, hidden: Collection[str] = ()) -> JSON:
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
        # Without /api the URL leads to Prefect's UI, which answers any path with a page. A route that Prefect does not
        # know answers exactly "Not Found", while the message about a missing deployment or run names it.
        if 300 <= status < 400:
            raise self._redirected(response)
        if not _is_json(response):
            raise self._not_json(response)
        if status < 200 or status == 405:
            raise self.not_prefect(status)
        try:
            body: JSON = response.json()
        # RecursionError: nested more deeply than Python reads.
        except (ValueError, RecursionError):
            raise Rejected(
                f"Response unreadable: could not {act} at {self.url}. The JSON is incomplete or damaged; check the "
                "proxy in front of Prefect.",
                code="response.unreadable",
                status=status,
            ) from None
        if status < 300:
            return body
        # The body is never shown whole: a 422 echoes the request, secrets included.
        reason = error_messages.explain_response(body)
        if any(value in reason for value in hidden):
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


def _validate_url(api_url: str) -> str:
    """Return the URL without a trailing slash; raise `Rejected` if it is invalid or contains a password."""
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

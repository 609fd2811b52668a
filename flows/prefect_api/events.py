"""Prefect's event stream: hints about which flow runs to read again. Loss is silent, so events are never facts."""

import json
import logging
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from flows.prefect_api import error_messages, parsing
from flows.prefect_api.records import JSON, Credential, EventRecord, PrefectError, Rejected, Unauthorized, Unreachable

# A server's largest event is 1.5 MB; the default limit of websockets is 1 MB.
LARGEST_MESSAGE = 4_000_000
OPEN_SECONDS = 10
REFUSED_CODE = 1008  # "policy violation": how Prefect closes after a wrong credential
BACKFILL = timedelta(minutes=1)  # covers the time of a reconnect
HEARTBEAT = "prefect.flow-run.heartbeat"
EVENTS_A_PAGE = 50  # the most that Prefect returns at once
# Without an end in the future the stream delivers nothing; with one it ends there.
FAR = timedelta(days=3650)

# At DEBUG the library logs each frame, the first of which is the credential.
_quiet = logging.getLogger(f"{__name__}.frames")
_quiet.setLevel(logging.INFO)


class _Connection(connect):
    """A connection that follows no redirect: its first frame is the credential, which belongs to this address alone."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def listen(api_url: str, credential: Credential) -> AsyncGenerator[EventRecord]:
    """Yield events of flow runs and task runs, starting a minute ago, until the stream ends with a `PrefectError`."""
    address = f"ws{api_url.removeprefix('http')}/events/out"
    # An explicit context, so that the stream and the HTTP client trust the same certificates (SSL_CERT_FILE).
    secure = httpx.create_ssl_context() if address.startswith("wss:") else None
    try:
        async with _Connection(
            address,
            subprotocols=[Subprotocol("prefect")],
            open_timeout=OPEN_SECONDS,
            max_size=LARGEST_MESSAGE,
            user_agent_header="prefect-operations-portal",
            logger=_quiet,
            ssl=secure,
        ) as socket:
            await _authenticate(socket, api_url, credential)
            async for message in socket:
                record = parsing.event(_event_in(message))
                if record is not None:
                    yield record
    except (ConnectionClosed, InvalidHandshake, OSError) as error:
        raise _as_prefect_error(error, api_url) from None
    raise _closed(api_url)


async def _authenticate(socket: ClientConnection, api_url: str, credential: Credential) -> None:
    """Send the credential, then the filter: Prefect expects both, in this order, and sends no event before."""
    await socket.send(json.dumps({"type": "auth", "token": credential.secret.strip() or None}))
    if _message(await socket.recv()).get("type") != "auth_success":
        raise _refused(api_url)
    now = datetime.now(UTC)
    await socket.send(
        json.dumps(
            {
                "type": "filter",
                "filter": {
                    "occurred": {"since": (now - BACKFILL).isoformat(), "until": (now + FAR).isoformat()},
                    "event": {"prefix": [*parsing.EVENT_PREFIXES]},
                },
            }
        )
    )


def heartbeat_filter(flow_run_ids: Sequence[UUID], since: str) -> JSON:
    """Return the body that asks for the newest heartbeats of these flow runs since an ISO time."""
    return {
        "filter": {
            "occurred": {"since": since},
            "event": {"name": [HEARTBEAT]},
            "resource": {"id": [f"prefect.flow-run.{each}" for each in flow_run_ids]},
            "order": "DESC",
        },
        "limit": EVENTS_A_PAGE,
    }


def _event_in(message: str | bytes) -> dict[str, Any]:
    event = _message(message).get("event")
    return event if isinstance(event, dict) else {}


def _message(message: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(message)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _as_prefect_error(error: Exception, api_url: str) -> PrefectError:
    """Translate what `websockets` raises. Order matters: InvalidStatus is an InvalidHandshake."""
    if isinstance(error, ConnectionClosed):
        if error.rcvd is not None and error.rcvd.code == REFUSED_CODE:
            return _refused(api_url)
        return _closed(api_url)
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        if status == 401:
            return _refused(api_url)
        if status == 403:  # what Prefect's web server answers to any socket at an unknown path
            return Rejected(
                f"Event stream refused (403) at {api_url}. Check that the URL ends in /api and that the"
                " credential may read events.",
                code="stream.refused",
                status=status,
            )
        if status < 500:
            return Rejected(f"{api_url} {error_messages.NOT_PREFECT}", code="server.not_prefect", status=status)
        return Unreachable(
            f"Server error ({status}): could not open the event stream at {api_url}.",
            code="server.error",
            status=status,
        )
    if isinstance(error, InvalidHandshake):
        return Rejected(f"{api_url} {error_messages.NOT_PREFECT}", code="server.not_prefect")
    cause = error_messages.explain_error(error)
    return Unreachable(f"{cause.label}: could not open the event stream at {api_url}. {cause.fix}.", code=cause.code)


def _closed(api_url: str) -> Unreachable:
    return Unreachable(f"Event stream closed by {api_url}. Reconnect.", code="stream.closed")


def _refused(api_url: str) -> Unauthorized:
    return Unauthorized(
        f"Authentication failed: could not open the event stream at {api_url}."
        " Update the environment's password or API key.",
        code="credential.refused",
    )

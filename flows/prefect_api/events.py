"""Prefect's streams of events and log lines: hints about which flow runs to read again.

Loss is silent, so what they carry is never a fact.
"""

import json
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from websockets.asyncio.client import connect
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
    now = datetime.now(UTC)
    criteria: dict[str, JSON] = {
        "occurred": {"since": (now - BACKFILL).isoformat(), "until": (now + FAR).isoformat()},
        "event": {"prefix": [*parsing.EVENT_PREFIXES]},
    }
    async with aclosing(_messages(api_url, "/events/out", credential, criteria)) as messages:
        async for message in messages:
            if record := parsing.event(_content(message, "event")):
                yield record


async def listen_to_logs(api_url: str, credential: Credential) -> AsyncGenerator[UUID]:
    """Yield the flow run of each new log line, until the stream ends with a `PrefectError`.

    By default a server keeps the stream silent: PREFECT_SERVER_LOGS_STREAM_OUT_ENABLED and
    PREFECT_SERVER_LOGS_STREAM_PUBLISHING_ENABLED switch it on.
    """
    async with aclosing(_messages(api_url, "/logs/out", credential, {})) as messages:
        async for message in messages:
            if flow_run_id := parsing.id_or_none(_content(message, "log"), "flow_run_id"):
                yield flow_run_id


async def _messages(
    api_url: str, path: str, credential: Credential, criteria: dict[str, JSON]
) -> AsyncGenerator[str | bytes]:
    """Yield the messages of one stream, until it ends with a `PrefectError`."""
    address = f"ws{api_url.removeprefix('http')}{path}"
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
            # The credential, then the filter: Prefect expects both, in this order, and sends nothing before.
            await socket.send(json.dumps({"type": "auth", "token": credential.secret.strip() or None}))
            if _message(await socket.recv()).get("type") != "auth_success":
                raise _refused(api_url)
            await socket.send(json.dumps({"type": "filter", "filter": criteria}))
            async for message in socket:
                yield message
    except (ConnectionClosed, InvalidHandshake, OSError) as error:
        raise _as_prefect_error(error, api_url) from None
    raise _closed(api_url)


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


def _content(message: str | bytes, kind: str) -> dict[str, Any]:
    content = _message(message).get(kind)
    return content if isinstance(content, dict) else {}


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

"""How the client talks: what it sends, what it repeats, and what it says when something goes wrong."""

import base64
import inspect
import json
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flows.prefect_api.client import PrefectClient
from flows.prefect_api.connect import for_server
from flows.prefect_api.records import (
    JSON,
    Credential,
    FlowRunRecord,
    NotFound,
    PrefectError,
    Rejected,
    Unauthorized,
    Uncertain,
    Unreachable,
)
from tests.fakes.prefect import FakePrefect

URL = "http://prefect.test/api"
CLOUD = "https://api.prefect.example/api/accounts/6b1e/workspaces/77aa"
RUN = UUID("0b0c0a0d-0000-4000-8000-000000000001")
DEPLOYMENT = UUID("0b0c0a0d-0000-4000-8000-000000000002")
SECRET = "hunter2-and-more"
RAW_RUN: dict[str, JSON] = {"id": str(RUN), "flow_id": str(uuid4()), "name": "march"}

Handler = Callable[[httpx.Request], httpx.Response]


NOTHING = Credential("none")


def client_of(handler: Handler, credential: Credential = NOTHING, url: str = URL) -> PrefectClient:
    return PrefectClient(url, credential, transport=httpx.MockTransport(handler))


def start(client: PrefectClient, **options: Any) -> FlowRunRecord:
    plain: dict[str, Any] = {
        "parameters": {"rows": 1},
        "idempotency_key": "key-1",
        "name": None,
        "tags": (),
        "scheduled_for": None,
    }
    return client.create_flow_run(DEPLOYMENT, **plain | options)


class Server:
    """Answers each request with the next of its answers, the last one for ever, and keeps what it was asked."""

    def __init__(self, *answers: httpx.Response | type[Exception]) -> None:
        self._answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, type):
            raise answer(f"{SECRET} went wrong")
        return answer


# What is sent


@pytest.mark.parametrize(
    ("credential", "header"),
    [
        (Credential("none"), None),
        (Credential("basic", "portal:pass"), f"Basic {base64.b64encode(b'portal:pass').decode()}"),
        (Credential("key", "pnu_abc"), "Bearer pnu_abc"),
        (Credential("key", " pnu_abc\n"), "Bearer pnu_abc"),
    ],
)
def test_the_credential_is_sent_as_its_kind_requires(credential: Credential, header: str | None) -> None:
    server = Server(httpx.Response(200, json="3.9.1"))
    client_of(server, credential).health()

    assert server.asked[0].headers.get("Authorization") == header


@pytest.mark.parametrize("url", [CLOUD, CLOUD + "/"])
def test_a_cloud_workspace_is_an_address_like_any_other(url: str) -> None:
    server = Server(httpx.Response(201, json=RAW_RUN))
    start(client_of(server, Credential("key", "pnu_abc"), url))

    assert str(server.asked[0].url) == f"{CLOUD}/deployments/{DEPLOYMENT}/create_flow_run"


def test_a_workspace_without_a_version_is_healthy() -> None:
    server = Server(httpx.Response(404, json={"detail": "Not Found"}), httpx.Response(200, json=[]))

    assert client_of(server, Credential("key", "pnu_abc"), CLOUD).health().version == ""


def test_the_body_of_a_start_holds_the_allowed_and_nothing_else() -> None:
    server = Server(httpx.Response(201, json=RAW_RUN))
    vienna = timezone(timedelta(hours=1))
    start(
        client_of(server),
        parameters={"rows": 3},
        name="march",
        tags=["urgent"],
        scheduled_for=datetime(2030, 1, 1, 7, tzinfo=vienna),
    )

    assert json.loads(server.asked[0].content) == {
        "parameters": {"rows": 3},
        "idempotency_key": "key-1",
        "name": "march",
        "tags": ["urgent"],
        "state": {"type": "SCHEDULED", "state_details": {"scheduled_time": "2030-01-01T06:00:00+00:00"}},
    }


def test_options_that_are_not_given_are_not_in_the_body() -> None:
    server = Server(httpx.Response(201, json=RAW_RUN))
    start(client_of(server))

    assert json.loads(server.asked[0].content) == {"parameters": {"rows": 1}, "idempotency_key": "key-1", "tags": []}


def test_a_start_time_without_a_time_zone_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="zone"):
        start(client_of(Server(httpx.Response(201, json=RAW_RUN))), scheduled_for=datetime(2030, 1, 1))  # noqa: DTZ001


def test_cancel_sets_the_state_cancelling() -> None:
    server = Server(httpx.Response(201, json={}))
    client_of(server).cancel(RUN)

    assert server.asked[0].url.path == f"/api/flow_runs/{RUN}/set_state"
    assert json.loads(server.asked[0].content) == {"state": {"type": "CANCELLING"}, "force": False}


# What is repeated


@pytest.mark.parametrize(
    "first", [httpx.Response(503), httpx.Response(429), httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError]
)
def test_a_read_is_retried(first: httpx.Response | type[Exception]) -> None:
    server = Server(first, httpx.Response(200, json=[RAW_RUN]))

    assert [run.id for run in client_of(server).flow_runs([RUN])] == [RUN]


@pytest.mark.parametrize(
    ("answer", "times"),
    [
        (httpx.Response(503), 3),
        (httpx.ConnectError, 3),
        (httpx.Response(502), 1),
        (httpx.ReadTimeout, 1),
        (httpx.ConnectTimeout, 1),
    ],
)
def test_a_read_gives_up_as_unreachable(answer: httpx.Response | type[Exception], times: int) -> None:
    server = Server(answer)

    with pytest.raises(Unreachable) as failure:
        client_of(server).flow_runs([RUN])
    assert failure.value.code
    assert URL in str(failure.value)
    assert len(server.asked) == times


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.ConnectError, Unreachable),
        (httpx.ConnectTimeout, Unreachable),
        (httpx.PoolTimeout, Unreachable),
        (httpx.Response(429), Unreachable),
        (httpx.ReadTimeout, Uncertain),
        (httpx.WriteTimeout, Uncertain),
        (httpx.ReadError, Uncertain),
        (httpx.WriteError, Uncertain),
        (httpx.RemoteProtocolError, Uncertain),
        (httpx.Response(408), Uncertain),
        (httpx.Response(500, json={"exception_message": SECRET}), Uncertain),
        (httpx.Response(502, html="<h1>Bad client</h1>"), Uncertain),
        (httpx.Response(503, json={"exception_message": "Service Unavailable"}), Uncertain),
        (httpx.Response(504), Uncertain),
        (httpx.Response(201, json={}), Uncertain),
        (httpx.Response(201, json=[]), Uncertain),
    ],
)
def test_a_start_is_sent_once_and_says_whether_it_may_have_been_done(
    answer: httpx.Response | type[Exception], error: type[PrefectError]
) -> None:
    server = Server(answer)

    with pytest.raises(error) as failure:
        start(client_of(server))
    assert type(failure.value) is error
    assert len(server.asked) == 1
    assert "hunter2" not in str(failure.value)


# CSRF, which a server may demand


class Guarded:
    """Wants a CSRF token with every POST; a new token voids the one before."""

    def __init__(self) -> None:
        self.given = 0
        self.clients: set[str] = set()
        self.posts = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/csrf-token"):
            self.given += 1
            self.clients.add(request.url.params["client"])
            return httpx.Response(200, json={"token": f"token-{self.given}"})
        token = request.headers.get("Prefect-Csrf-Token")
        if token is None:
            return httpx.Response(403, json={"detail": "Missing CSRF token."})
        if token != f"token-{self.given}" or request.headers.get("Prefect-Csrf-Client") not in self.clients:
            return httpx.Response(403, json={"detail": "Invalid CSRF token or client identifier."})
        self.posts += 1
        return httpx.Response(200, json=RAW_RUN if "create" in request.url.path else [RAW_RUN])


def test_a_csrf_token_is_fetched_when_required_and_then_reused() -> None:
    server = Guarded()
    client = client_of(server)

    assert start(client).id == RUN
    assert [run.id for run in client.flow_runs([RUN])] == [RUN]
    assert (server.given, len(server.clients), server.posts) == (1, 1, 2)

    server.given += 1  # the token has expired
    assert start(client).id == RUN


def test_threads_share_one_csrf_token() -> None:
    server = Guarded()
    client = client_of(server)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: client.flow_runs([RUN])[0].id, range(40)))

    assert found == [RUN] * 40
    assert (server.given, len(server.clients)) == (1, 1)


# What it says when something is wrong


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_credential_is_unauthorized(status: int) -> None:
    server = Server(httpx.Response(status, json={"exception_message": "Unauthorized"}))

    with pytest.raises(Unauthorized) as failure:
        start(client_of(server, Credential("basic", f"portal:{SECRET}")))
    assert (failure.value.code, failure.value.status) == ("credential.refused", status)
    assert URL in str(failure.value)


JSON_TYPE = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("answer", "code", "names"),
    [
        (httpx.Response(200, html="<!doctype html><title>Sign in</title>"), "server.not_json", "text/html"),
        (httpx.Response(404, html="<h1>Nothing here</h1>"), "server.not_json", "text/html"),
        (httpx.Response(200, content=b"x", headers={"content-type": "evil\x1b[31m"}), "server.not_json", "no content"),
        (httpx.Response(200, json={"not": "a list"}), "server.not_prefect", ""),
        (httpx.Response(200, json=[{"no": "id"}]), "server.not_prefect", ""),
        (httpx.Response(404, json={"detail": "Not Found"}), "server.not_prefect", ""),
        (httpx.Response(405, json={"detail": "Method Not Allowed"}), "server.not_prefect", ""),
        (httpx.Response(200, content=b"{", headers=JSON_TYPE), "response.unreadable", ""),
        (httpx.Response(200, content=b"[" * 100_000, headers=JSON_TYPE), "response.unreadable", ""),
        (httpx.Response(307, headers={"location": "https://a.test/x"}), "server.redirect", "https://a.test/x."),
        (httpx.Response(302, headers={"location": "/sign-in?next=secret"}), "server.redirect", "/sign-in."),
        (httpx.Response(301, headers={"location": "https://u:secret@a.test/#secret"}), "server.redirect", "//a.test/."),
    ],
)
def test_a_response_that_is_not_prefects_has_a_code_for_its_cause(
    answer: httpx.Response, code: str, names: str
) -> None:
    with pytest.raises(Rejected) as failure:
        client_of(Server(answer)).flow_runs([RUN])
    assert failure.value.code == code
    for piece in (URL, names):
        assert piece in str(failure.value)
    for piece in ("secret", "\x1b"):
        assert piece not in str(failure.value)


@pytest.mark.parametrize(
    ("number", "code"),
    [(10, "tls.expired"), (9, "tls.not_yet_valid"), (62, "tls.host"), (64, "tls.host"), (18, "tls.certificate")],
)
def test_certificates_are_told_apart(number: int, code: str) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        cause = ssl.SSLCertVerificationError(1, "certificate verify failed")
        cause.verify_code = number
        raise httpx.ConnectError("failed") from cause

    with pytest.raises(Unreachable) as failure:
        PrefectClient(URL, Credential(), transport=httpx.MockTransport(refuse)).flow_runs([RUN])
    assert failure.value.code == code


@pytest.mark.parametrize("url", ["", "prefect.test/api", "ftp://prefect.test/api", "http://", "http://[::1/api"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Rejected) as failure:
        PrefectClient(url, NOTHING)
    assert failure.value.code == "url.invalid"


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(Rejected) as failure:
        PrefectClient(f"http://portal:{SECRET}@prefect.test/api", NOTHING)
    assert failure.value.code == "url.password"
    assert SECRET not in str(failure.value)


REASONS: list[tuple[int, JSON, str]] = [
    (
        422,
        {
            "exception_message": "Invalid request received.",
            "exception_detail": [
                {
                    "loc": ["body", "name"],
                    "msg": "Input should be a string",
                    "input": SECRET,
                    "ctx": {"a": SECRET},
                },
                {"loc": ["body", "tags", 0], "msg": "Field required", "input": {"parameters": {"token": SECRET}}},
            ],
            "request_body": {"parameters": {"token": SECRET}},
        },
        "name: Input should be a string; tags.0: Field required",
    ),
    (
        409,
        {
            "detail": "Error creating flow run: Validation failed for field 'a.b'."
            f" Failure reason: '{SECRET}' is too long"
        },
        "parameter a.b: the value is too long",
    ),
    (
        409,
        {"detail": f"Validation failed for field 'token'. Failure reason: ['{SECRET}'] is not of type 'string'"},
        "parameter token: the value is not of type 'string'",
    ),
    (
        409,
        {"detail": f"Validation failed for field 'token'. Failure reason: False schema does not allow '{SECRET}'"},
        "parameter token: the value does not match the deployment's schema",
    ),
    (
        409,
        {"detail": "Error creating flow run: Validation failed. Failure reason: 'rows' is a required property"},
        "the parameters: 'rows' is a required property",
    ),
    (
        400,
        {"detail": f"Error hydrating flow run parameters: Variable '{SECRET}' not found in workspace."},
        "the parameters contain a template, JSON text or variable that Prefect could not resolve",
    ),
    (409, {"detail": "Data integrity conflict.\n  See server logs."}, "Data integrity conflict. See server logs"),
    (418, {"detail": f"Cannot brew {SECRET}"}, "the reason quotes a parameter value and is not shown"),
    (418, ["unheard of"], "no reason given (418)"),
]


@pytest.mark.parametrize(("status", "body", "reason"), REASONS)
def test_a_rejection_gives_the_reason_and_never_a_value(status: int, body: JSON, reason: str) -> None:
    with pytest.raises(Rejected) as refusal:
        start(client_of(Server(httpx.Response(status, json=body))), parameters={"token": SECRET})

    assert str(refusal.value).endswith(f"start a flow run of deployment {DEPLOYMENT}: {reason}.")
    assert (refusal.value.code, refusal.value.status) == ("request.rejected", status)
    assert refusal.value.__cause__ is None


def test_a_missing_deployment_is_told_from_a_wrong_address() -> None:
    with pytest.raises(NotFound, match=r"\(Deployment not found\)") as failure:
        start(client_of(Server(httpx.Response(404, json={"detail": "Deployment not found"}))))
    assert failure.value.code == "object.not_found"


def test_nothing_secret_is_shown_or_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    credential = Credential("basic", f"portal:{SECRET}")
    client = client_of(Server(httpx.Response(409, json={"detail": SECRET}), httpx.ReadError), credential)

    for _ in range(2):
        with pytest.raises(PrefectError) as failure:
            start(client, parameters={"token": SECRET})
        shown = [repr(credential), repr(client), str(failure.value), repr(failure.value), caplog.text]
        assert not [text for text in shown if SECRET in text]


def test_records_do_not_show_what_a_person_typed() -> None:
    record = start(client_of(Server(httpx.Response(201, json=RAW_RUN | {"parameters": {"token": SECRET}}))))

    assert record.parameters == {"token": SECRET}
    assert SECRET not in repr(record)


# Real sockets


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def serve(listener: socket.socket, answer: Callable[[socket.socket], None]) -> None:
    def run() -> None:
        try:
            while True:
                connection, _ = listener.accept()
                with connection:
                    answer(connection)
        except OSError:
            return  # the test is over

    threading.Thread(target=run, daemon=True).start()


def address(listener: socket.socket, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/api"


def test_a_server_that_hangs_up_leaves_a_start_uncertain_and_a_read_unreachable(listener: socket.socket) -> None:
    def hang_up(connection: socket.socket) -> None:
        connection.recv(65536)

    serve(listener, hang_up)
    client = PrefectClient(address(listener), NOTHING)

    with pytest.raises(Uncertain) as uncertain:
        start(client)
    with pytest.raises(Unreachable) as unreachable:
        client.health()
    assert uncertain.value.code == unreachable.value.code == "connection.lost"


def test_reads_keep_their_connection_and_a_start_never_meets_a_stale_one() -> None:
    connections: list[int] = []

    class Counting(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            connections.append(1)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps(RAW_RUN if "create_flow_run" in self.path else [RAW_RUN]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
            """Say nothing into the tests' output."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Counting) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        client = PrefectClient(f"http://127.0.0.1:{server.server_port}/api", NOTHING)
        for _ in range(3):
            assert [run.id for run in client.flow_runs([RUN])] == [RUN]
        assert len(connections) == 1
        for _ in range(3):
            assert start(client).id == RUN
        assert len(connections) == 4
        client.close()
        server.shutdown()


def test_a_read_survives_a_connection_that_was_closed_unannounced(listener: socket.socket) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]")

    serve(listener, talk)
    client = PrefectClient(address(listener), NOTHING)

    assert [client.flow_runs([RUN]) for _ in range(5)] == [[]] * 5


def test_a_port_without_a_server_is_connection_refused(listener: socket.socket) -> None:
    url = address(listener)
    listener.close()

    with pytest.raises(Unreachable, match="Connection refused") as failure:
        start(PrefectClient(url, NOTHING))
    assert failure.value.code == "connection.refused"
    assert url in str(failure.value)


def test_an_unknown_host_has_its_own_code() -> None:
    with pytest.raises(Unreachable) as failure:
        start(PrefectClient("http://prefect.invalid/api", NOTHING))
    assert failure.value.code == "connection.dns"


def test_https_to_an_http_server_has_its_own_code(listener: socket.socket) -> None:
    serve(listener, lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))

    with pytest.raises(Unreachable) as failure:
        start(PrefectClient(address(listener, "https"), NOTHING))
    assert failure.value.code == "tls.protocol"


def test_a_certificate_of_an_unknown_authority_has_its_own_code(listener: socket.socket, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))

    def shake_hands(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True):
            pass

    serve(listener, shake_hands)

    with pytest.raises(Unreachable) as failure:
        start(PrefectClient(address(listener, "https"), NOTHING))
    assert failure.value.code == "tls.certificate"


def self_signed(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


# One client an environment, and one fake


def test_a_server_keeps_its_client_and_another_credential_gets_another() -> None:
    first = for_server(URL, Credential("key", "a"))

    assert for_server(URL, Credential("key", "a")) is first
    assert for_server(URL, Credential("key", "b")) is not first


def test_the_fake_has_every_method_of_the_client() -> None:
    methods = {name for name, _ in inspect.getmembers(PrefectClient, inspect.isfunction) if not name.startswith("_")}

    assert methods <= vars(FakePrefect).keys()

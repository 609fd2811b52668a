"""An issuer of job tokens on this machine: discovery, keys, and tokens as GitHub and GitLab make them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

AUDIENCE = "https://portal.example.com"
REQUEST_TOKEN = "runner-secret"
LIFE = 600

# As the two document them; a test changes what it is about.
GITHUB: dict[str, Any] = {
    "sub": "repo:acme/pipelines:environment:production",
    "repository": "acme/pipelines",
    "repository_id": "123456789",
    "repository_owner": "acme",
    "repository_owner_id": "1234567",
    "repository_visibility": "private",
    "environment": "production",
    "ref": "refs/heads/main",
    "ref_type": "branch",
    "ref_protected": "true",
    "base_ref": "",
    "head_ref": "",
    "sha": "0c9d1f3a7f5b4e2f8a6d5c4b3a2918f7e6d5c4b3",
    "actor": "amira",
    "actor_id": "987654",
    "event_name": "push",
    "workflow": "Month end",
    "workflow_ref": "acme/pipelines/.github/workflows/month-end.yml@refs/heads/main",
    "job_workflow_ref": "acme/pipelines/.github/workflows/month-end.yml@refs/heads/main",
    "run_id": "7700112233",
    "run_number": "42",
    "run_attempt": "1",
    "runner_environment": "github-hosted",
}
GITLAB: dict[str, Any] = {
    "sub": "project_path:acme/pipelines:ref_type:branch:ref:main",
    "namespace_id": "72",
    "namespace_path": "acme",
    "project_id": "4711",
    "project_path": "acme/pipelines",
    "user_id": "5",
    "user_login": "amira",
    "user_email": "amira@example.com",
    "user_access_level": "maintainer",
    "pipeline_id": "31415",
    "pipeline_source": "push",
    "job_id": "27182",
    "ref": "main",
    "ref_type": "branch",
    "ref_path": "refs/heads/main",
    "ref_protected": "true",
    "environment": "production",
    "environment_protected": "true",
    "deployment_tier": "production",
    "runner_id": 1,
    "runner_environment": "gitlab-hosted",
    "sha": "0c9d1f3a7f5b4e2f8a6d5c4b3a2918f7e6d5c4b3",
    "ci_config_ref_uri": "127.0.0.1/acme/pipelines//.gitlab-ci.yml@refs/heads/main",
    "project_visibility": "private",
}


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def first_key() -> rsa.RSAPrivateKey:
    """Made once: it takes longer than a test."""
    return new_key()


class Issuer:
    """Publishes keys and signs tokens; `asked` has the paths that were requested of it."""

    def __init__(self) -> None:
        self.keys: dict[str, rsa.RSAPrivateKey] = {"first": first_key()}
        self.kid = "first"
        self.asked: list[str] = []
        # path -> the form that came with the last request of it
        self.forms: dict[str, dict[str, str]] = {}
        self.url = ""
        # path -> status, headers and body instead of the usual ones
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        # What a runner of GitHub gives to the job that asks for a token.
        self.job: dict[str, Any] = GITHUB

    def rotate(self) -> None:
        self.kid = f"key-{len(self.keys)}"
        self.keys = {self.kid: new_key()}

    def token(self, claims: dict[str, Any], *, key: Any = None, alg: str = "RS256", **changes: Any) -> str:
        """Return a signed job token; a change to None leaves a claim out, `kid` and `crit` change the header."""
        now = int(time.time())
        header = {name: changes.pop(name) for name in ("kid", "crit") if name in changes}
        found = {
            "iss": self.url,
            "aud": AUDIENCE,
            "jti": str(uuid4()),
            "exp": now + LIFE,
            "nbf": now - 5,
            "iat": now - 5,
            **claims,
            **changes,
        }
        payload = {name: value for name, value in found.items() if value is not None}
        key = self.keys[self.kid] if key is None else key
        return jwt.encode(payload, key, algorithm=alg, headers={"kid": self.kid, **header})

    def github(self, **changes: Any) -> str:
        return self.token(GITHUB, **changes)

    def gitlab(self, **changes: Any) -> str:
        return self.token(GITLAB, **changes)

    def jwks(self) -> dict[str, Any]:
        rows = [
            json.loads(RSAAlgorithm.to_jwk(key.public_key())) | {"kid": kid, "use": "sig", "alg": "RS256"}
            for kid, key in self.keys.items()
        ]
        return {"keys": rows}

    @property
    def request_url(self) -> str:
        """What GitHub sets as ACTIONS_ID_TOKEN_REQUEST_URL: it has a query already."""
        return f"{self.url}/request?api-version=2.0"

    def answer(self, path: str, query: dict[str, list[str]], authorization: str) -> tuple[int, dict[str, str], bytes]:
        if path in self.answers:
            return self.answers[path]
        if path == "/.well-known/openid-configuration":
            return reply({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})
        if path == "/keys":
            return reply(self.jwks())
        if path == "/request" and authorization.lower() == f"bearer {REQUEST_TOKEN}":
            return reply({"count": 1, "value": self.token(self.job, aud=query.get("audience", [""])[0])})
        return 401 if path == "/request" else 404, {}, b"{}"


def reply(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()


@contextmanager
def serving() -> Iterator[Issuer]:
    """Run an issuer on a free port for as long as the block."""
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            issuer.asked.append(parts.path)
            issuer.forms[parts.path] = dict(
                parse_qsl(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
            )
            status, headers, body = issuer.answer(
                parts.path, parse_qs(parts.query), self.headers.get("Authorization", "")
            )
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""A program that calls the API with a token."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from flows.models import Environment
from runs.governance import token_limits, tokens
from runs.models import TokenScope
from tests.cast import by

ROOT = "/api/v1"
PLACE = "192.0.2.7"


@dataclass
class Answer:
    status: int
    headers: Any
    body: Any

    @property
    def code(self) -> str:
        return str(self.body["code"])


class Program:
    """Sends JSON with a token and returns what comes back."""

    def __init__(self, text: str) -> None:
        self.text = text
        # As from a browser of another site, for which a missing exemption would show.
        self.client = Client(enforce_csrf_checks=True, raise_request_exception=False)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        names = {"Authorization": f"Bearer {self.text}"} if self.text else {}
        names |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, str) else json.dumps(body) if body is not None else ""
        found = self.client.generic(
            method, f"{ROOT}{path}", data, content_type="application/json", headers=names, REMOTE_ADDR=PLACE
        )
        return Answer(found.status_code, found.headers, json.loads(found.content or b"null"))

    def get(self, path: str, **headers: str) -> Answer:
        return self.send("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.send("POST", path, {} if body is None else body, **headers)


Programs = Callable[..., Program]


@pytest.fixture
def program(db: None) -> Programs:
    """Makes a program that acts as a person, with all verbs everywhere or with these scopes."""

    def make(user: User, *scopes: TokenScope, **options: Any) -> Program:
        rows = list(scopes) or [
            TokenScope(verbs=list(token_limits.VERBS), environment=each) for each in (None, *Environment.objects.all())
        ]
        settings: dict[str, Any] = {"name": "test", "expires_at": timezone.now() + timedelta(days=1)} | options
        return Program(tokens.issue(user, by=by(user), scopes=rows, **settings).text)

    return make

"""Hooks for tests, and senders that sign as other systems do."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from standardwebhooks.webhooks import Webhook

from flows.models import Deployment
from runs.actors import Actor
from runs.automation import hooks
from runs.governance import grants
from runs.models import Hook, ServiceAccount
from tests.cast import by
from tests.portal.made_tokens import robot_of

PLACE = "192.0.2.7"
MAPPING: dict[str, Any] = {"month": {"pointer": "/data/month"}, "rows": {"pointer": "/data/rows", "default": 10}}
PAYLOAD: dict[str, Any] = {"type": "month.closed", "data": {"month": "2026-10"}}


def robot_for(owner: User, deployment: Deployment, name: str = "shop") -> ServiceAccount:
    """A service account that may run the deployment."""
    robot = robot_of(owner, name, "tells us what happened in the shop")
    grants.grant(
        by=Actor.system(), person=robot.user, verbs=["see", "trigger"], environment=deployment.environment, reason="r"
    )
    return robot


def new_hook(owner: User, deployment: Deployment, account: ServiceAccount | None = None, **options: Any) -> Sender:
    settings = {"name": "orders", "kind": "standard", "mapping": MAPPING} | options
    account = account or robot_for(owner, deployment)
    made = hooks.create(account, by=by(owner), deployment=deployment, **settings)
    return Sender(hooks.rows().get(pk=made.hook.pk), made.text)


@dataclass
class Answer:
    status: int
    body: Any
    headers: Any

    @property
    def code(self) -> str:
        return str(self.body["code"])


@dataclass
class Sender:
    """A system that sends to a hook, signing with the library of Standard Webhooks or as GitHub does."""

    hook: Hook
    secret: str

    def headers(self, body: str, name: str, at: datetime | None = None) -> dict[str, str]:
        if self.hook.kind == Hook.Kind.GITHUB:
            made = hmac.new(self.secret.encode(), body.encode(), hashlib.sha256).hexdigest()
            return {"X-GitHub-Delivery": name, "X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={made}"}
        at = at or datetime.now(UTC)
        signature = Webhook(self.secret).sign(name, at, body)
        return {"webhook-id": name, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}

    def send(
        self, payload: Any = None, name: str = "msg_1", *, at: datetime | None = None, **changed: str | None
    ) -> Answer:
        """Send a message; `changed` are headers with other values, and None leaves one out."""
        body = payload if isinstance(payload, str) else json.dumps(PAYLOAD if payload is None else payload)
        headers = self.headers(body, name, at) | {key.replace("_", "-"): value for key, value in changed.items()}
        return self.post(body, {key: value for key, value in headers.items() if value is not None})

    def post(self, body: str | bytes, headers: dict[str, str], key: str = "") -> Answer:
        # As from a browser of another site, for which a missing exemption would show.
        found = Client(enforce_csrf_checks=True).generic(
            "POST",
            f"/hooks/{key or self.hook.key}",
            body,
            content_type="application/json",
            headers=headers,
            REMOTE_ADDR=PLACE,
        )
        return Answer(found.status_code, json.loads(found.content), found.headers)

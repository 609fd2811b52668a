"""Fills in and submits the run form as a browser does."""

from __future__ import annotations

import re
from typing import Any

from django.test import Client
from django.urls import reverse

from flows.models import Deployment

PLAIN = {"start": "now", "parameters-month": "2026-01", "parameters-rows": "100", "parameters-token": ""}


def form_of(deployment: Deployment, query: str = "") -> str:
    return reverse("admin:flows_deployment_run", args=[deployment.pk]) + query


def hidden(page: str) -> dict[str, str]:
    """What a form of ours brings along by itself."""
    names = ("submission_key", "form_fingerprint", "edited_draft", "draft")
    return {name: found[0] for name in names if (found := re.findall(f'name="{name}" value="([^"]*)"', page))}


def fill_in(client: Client, deployment: Deployment, query: str = "", **values: str) -> Any:
    """Open the form and send it."""
    page = client.get(form_of(deployment, query)).content.decode()
    return client.post(form_of(deployment, query), {**PLAIN, **hidden(page), **values})


def confirm(client: Client, deployment: Deployment, page: str, word: str, query: str = "", **values: str) -> Any:
    """Type a name on the page that asks for it."""
    body = {"draft": hidden(page)["draft"], "confirmation": word, **values}
    return client.post(form_of(deployment, query), body)

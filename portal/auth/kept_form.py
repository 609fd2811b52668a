"""Keeps what was typed into a run form while its user signs in again.

Without a user, nothing is stored: the entries travel through the sign-in page, encrypted. After the sign-in they are in
the session until the form shows them, without secrets, and only for the user who typed them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest, QueryDict
from django.urls import Resolver404, resolve
from django.utils import timezone

from flows import encryption
from flows.models import Deployment
from flows.parameters import ParameterForm

TOKEN, SESSION_KEY, CARRIED = "kept_form", "kept_run_form", "carried_form"
# The user who filled in the form: someone else who signs in with the same browser does not get the entries.
FILLED_BY = "filled_by"
# The inputs beside the parameters, and an encrypted draft without secrets.
OPTIONS = ("start", "scheduled_for", "reason", "ticket", "run_name", "tags", "on_behalf_of", "overrides", "draft")
VALID_FOR = timedelta(minutes=30)
LARGEST = 600_000  # characters: more than Prefect accepts as parameters

type Fields = Mapping[str, list[str]]


def seal(url: str, fields: Fields) -> str:
    """Return a token for the sign-in page, "" for entries that are too large to be kept."""
    text = json.dumps({"kept_at": timezone.now().isoformat(), "url": url, "fields": fields})
    return encryption.seal(text).decode() if len(text) <= LARGEST else ""


def unseal(token: str) -> dict[str, Any] | None:
    """Return what was sealed, with its `url` and `fields`; None if it is too old, or anything else."""
    try:
        sealed: dict[str, Any] = json.loads(encryption.unseal(token.encode()))
        is_valid = timezone.now() - datetime.fromisoformat(sealed["kept_at"]) <= VALID_FOR
        return sealed if is_valid and {"url", "fields"} <= sealed.keys() else None
    except (encryption.DecryptionError, ValueError, TypeError, LookupError, AttributeError):
        return None


def restore(request: HttpRequest, token: str) -> None:
    """After a sign-in, store the entries that came with it; anything else is ignored."""
    if sealed := unseal(token):
        store(request, sealed["url"], sealed["fields"])


def carry(request: HttpRequest) -> None:
    """Keep the token of a browser that leaves the portal to sign in elsewhere; only one that the portal has sealed."""
    token = request.POST.get(TOKEN, "")
    if token and unseal(token):
        request.session[CARRIED] = token


def carried(request: HttpRequest) -> str:
    """Return the token of a browser that returns, once; "" without one."""
    token: str = request.session.pop(CARRIED, "") if CARRIED in request.session else ""
    return token


def store(request: HttpRequest, url: str, fields: Fields) -> bool:
    """Store the entries in the session without secrets; False if another user typed them, or they are too large."""
    try:
        pk = resolve(urlsplit(url).path).kwargs.get("pk", 0)
    except Resolver404:
        return False
    deployment = Deployment.objects.filter(pk=pk).first()
    is_own = fields.get(FILLED_BY) == [str(request.user.pk)]
    if deployment is None or not is_own or len(json.dumps(fields)) > LARGEST:
        return False
    form = ParameterForm(deployment.parameter_schema, deployment.parameter_defaults, as_submitted(fields))
    # Inputs that the form does not have any more are dropped too: they may have been secrets.
    names = {*OPTIONS, *form.public_names}
    # A draft may have held secrets that nobody can tell any more.
    has_draft = bool(form.secret_names) and not fields.keys().isdisjoint({"draft", "edited_draft"})
    request.session[SESSION_KEY] = {
        "url": url,
        "until": (timezone.now() + VALID_FOR).isoformat(),
        "fields": {name: values for name, values in fields.items() if name in names},
        "lost_secrets": has_draft or any(any(fields.get(name, ())) for name in form.secret_names),
    }
    return True


def take(request: HttpRequest) -> dict[str, Any] | None:
    """Return what was kept for this address, once: its `fields`, and whether secrets were left out."""
    kept: dict[str, Any] | None = request.session.get(SESSION_KEY)
    if kept is None or kept["url"] != request.get_full_path():
        return None
    del request.session[SESSION_KEY]
    return kept if datetime.fromisoformat(kept["until"]) > timezone.now() else None


def as_submitted(fields: Fields) -> QueryDict:
    data = QueryDict(mutable=True)
    for name, values in fields.items():
        data.setlist(name, values)
    return data

"""Answers a run form that cannot be accepted until its user has signed in, and shows it again afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache

from flows import parameters as schemas
from flows.models import Deployment
from portal.admin.problem import Problem
from portal.admin.run_form import rerun
from portal.admin.run_form.draft import read_draft
from portal.auth import kept_form
from portal.auth.sign_in import SignInForm
from portal.ui.text import number
from runs.models import RunRequest

VIEW = "flows_deployment_run"
KEPT = "You had to sign in, so nothing was requested. Check what you entered and submit it again."
RETYPE = "Secrets were not kept: enter them again."


def is_run_form(request: HttpRequest) -> bool:
    """Return whether the request submits a run form of the portal or its confirmation."""
    match = request.resolver_match
    is_ours = match is not None and match.url_name == VIEW
    return is_ours and request.method == "POST" and kept_form.FILLED_BY in request.POST


def answer(request: HttpRequest) -> HttpResponse | None:
    """Answer by the sign-in page, or by the form again if its user is signed in by now; None for another user."""
    fields = {name: request.POST.getlist(name) for name in request.POST}
    if "draft" in fields:
        fields["draft"] = [_without_secrets(request, fields["draft"][0])]
    url = request.get_full_path()
    if request.user.is_authenticated:
        return HttpResponseRedirect(url) if kept_form.store(request, url, fields) else None
    token = kept_form.seal(url, fields)
    context = {
        **admin.site.each_context(request),
        "title": "Sign in",
        "form": SignInForm(request),
        "app_path": f"{reverse('admin:login')}?{urlencode({'next': url})}",
        "next": url,
        kept_form.TOKEN: token,
        "is_form_lost": not token,
    }
    return render(request, "portal/login.html", context, status=403)


def through_sign_in(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Wrap a view of the admin, which would redirect people without a session and drop what they entered."""

    @wraps(view)
    @never_cache
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        is_signed_out = not request.user.is_authenticated
        answered = answer(request) if is_signed_out and is_run_form(request) else None
        return answered or view(request, *args, **kwargs)

    return wrapped


def problem(entries: Mapping[str, Any]) -> Problem:
    return Problem("form.kept", f"{KEPT} {RETYPE}" if entries["lost_secrets"] else KEPT)


def _without_secrets(request: HttpRequest, token: str) -> str:
    """Return the draft of the confirmation page without its secrets, "" for one that is not valid."""
    match = request.resolver_match
    deployment = Deployment.objects.filter(pk=match.kwargs["pk"] if match else 0).first()
    user = User.objects.filter(pk=number(request.POST[kept_form.FILLED_BY]) or 0).first()
    again = number(request.GET.get(rerun.AGAIN))
    rerun_of = (
        RunRequest.objects.select_related("change", "spec").filter(pk=again).first() if again is not None else None
    )
    if deployment is None or user is None or not (draft := read_draft(token, deployment, user, rerun_of)):
        return ""
    public, _ = schemas.split(deployment.parameter_schema, draft.values)
    return replace(draft, values=public).encrypt(user)

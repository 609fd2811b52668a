"""Tests of a connection while it is typed in the form of an environment. Nothing is saved but the test itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from flows.models import Environment
from portal.admin.environments.connection_fields import ConnectionForm
from portal.auth.request_user import actor_of
from portal.ui.text import number
from runs.actors import is_administrator
from runs.errors import Refused
from runs.governance import connection_tests

TEMPLATE = "portal/environment/_test.html"
# After this long without a result the background tasks are the likely reason.
SLOW = timedelta(seconds=20)


def begin(request: HttpRequest) -> HttpResponse:
    """Queue a test of what is typed; answer with its place in the form, which asks for the result."""
    require_administrator(request)
    key = number(request.POST.get("environment"))
    environment = Environment.objects.select_related("server").filter(pk=key).first() if key else None
    form = ConnectionForm(request.POST, environment.server if environment else None)
    if not form.is_valid():
        return render(request, TEMPLATE, {"errors": [each for found in form.errors.values() for each in found]})
    values = form.cleaned_data
    try:
        test = connection_tests.request_test(
            api_url=values["api_url"],
            credential_kind=values["credential_kind"],
            credential=values["new_credential"],
            environment=environment,
            by=actor_of(request),
        )
    except Refused as refusal:
        return render(request, TEMPLATE, {"errors": [refusal.message]})
    return render(request, TEMPLATE, {"test": test})


def result(request: HttpRequest, pk: int) -> HttpResponse:
    """Answer with the result of the reader's own test, or ask again later."""
    require_administrator(request)
    test = connection_tests.own_test(pk, by=actor_of(request))
    if test is None:
        raise Http404
    age = timezone.now() - test.requested_at
    has_expired = not test.finished_at and age > connection_tests.LATEST
    return render(request, TEMPLATE, {"test": test, "is_slow": age > SLOW, "has_expired": has_expired})


def addresses(site: AdminSite) -> list[URLPattern]:
    """Return the addresses, for the admin of environments."""
    views: dict[str, tuple[Callable[..., HttpResponse], str]] = {
        "test/": (require_POST(begin), "test"),
        "test/<int:pk>/": (require_safe(result), "test_result"),
    }
    return [
        path(route, site.admin_view(view), name=f"flows_environment_{name}") for route, (view, name) in views.items()
    ]


def require_administrator(request: HttpRequest) -> None:
    if not is_administrator(request.user):
        raise PermissionDenied("Only administrators can test connections.")

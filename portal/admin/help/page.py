"""The pages Help and About, for everyone who has signed in."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.views.decorators.http import require_safe

from portal import VERSION
from portal.auth.request_user import permissions_of
from portal.ui import manual
from portal.ui.environment_status import status_of


def frame(request: HttpRequest, title: str) -> dict[str, Any]:
    return {**admin.site.each_context(request), "title": title}


@require_safe
def contents(request: HttpRequest) -> HttpResponse:
    return render(request, "portal/help/contents.html", {**frame(request, "Help"), "pages": manual.pages()})


@require_safe
def help_page(request: HttpRequest, slug: str) -> HttpResponse:
    found = manual.page(slug)
    if found is None:
        raise Http404
    return render(request, "portal/help/page.html", {**frame(request, found.title), "page": found})


@require_safe
def about(request: HttpRequest) -> HttpResponse:
    """Show the versions of the portal and of the servers whose environments the reader sees."""
    places = permissions_of(request).environments().select_related("server__health").order_by("position", "pk")
    context = {"version": VERSION, "rows": [status_of(place) for place in places]}
    return render(request, "portal/help/about.html", {**frame(request, "About"), **context})


URLS: list[URLPattern] = [
    path(f"admin/{address}", admin.site.admin_view(view), name=name)
    for name, address, view in (
        ("help", "help/", contents),
        ("help_page", "help/<slug:slug>/", help_page),
        ("about", "about/", about),
    )
]

"""What people are told when their act did not happen, because it waits for a second signature."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html

from runs.models import ChangeRequest


def address(change: ChangeRequest) -> str:
    return reverse("admin:runs_changerequest_change", args=[change.pk])


def tell(request: HttpRequest, change: ChangeRequest, *, about: str = "") -> None:
    """Add a message with a link to the change request; `about` names the row where there are several."""
    if change.kind != ChangeRequest.Kind.RULES:
        text = format_html(
            '{}Not done yet: it needs an approval, as <a href="{}">change request {}</a>.',
            f"{about}: " if about else "",
            address(change),
            change.pk,
        )
        messages.info(request, text, extra_tags="change.waiting")
        return
    text = format_html(
        "Not in effect yet: it loosens the rules of {} and waits for the approval of another administrator, as "
        '<a href="{}">change request {}</a>.',
        change.environment_name,
        address(change),
        change.pk,
    )
    messages.info(request, text, extra_tags="rules.waiting")


def show(request: HttpRequest, change: ChangeRequest) -> HttpResponseRedirect:
    """Redirect to the change request, whose page says what it waits for."""
    messages.info(request, f"Change request {change.pk} submitted.", extra_tags="rules.waiting")
    return HttpResponseRedirect(address(change))

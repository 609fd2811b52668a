"""Admin forms that are saved by a service, whose refusals are shown and stay in the audit trail."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.admin import ModelAdmin

from portal.admin.changes import waiting
from runs.errors import Refused
from runs.models import ChangeRequest


class ServiceModelAdmin(ModelAdmin):
    """Saves the form through `save_row`, a method of the subclass that calls one service."""

    def save_row(self, request: HttpRequest, row: Any, form: Any) -> ChangeRequest | None:
        """Call the service that saves the row; return the change request that it became. Raises `Refused`."""
        raise NotImplementedError

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        try:
            request.waiting = self.save_row(request, obj, form)  # type: ignore[attr-defined]  # lives as long as the request
        except Refused as refusal:
            # Not raised on: Django saves in one transaction, and a rollback would take the refusal's audit entry along.
            request.refusal = refusal  # type: ignore[attr-defined]  # lives as long as the request

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        # The service has saved the groups and permissions too; Django's own would write them without an audit entry.
        pass

    # Django's own log stays empty: the audit trail has the change, with its reason and refusals.

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        pass

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        pass

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        response: HttpResponse = self.refused(request) or super().response_add(request, obj, post_url_continue)
        return response

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        response: HttpResponse = self.refused(request) or super().response_change(request, obj)
        return response

    def refused(self, request: HttpRequest) -> HttpResponse | None:
        """Return a redirect with the refusal, or with what the save waits for, as a message; None when it was saved."""
        if change := getattr(request, "waiting", None):
            return waiting.show(request, change)
        refusal: Refused | None = getattr(request, "refusal", None)
        if refusal is None:
            return None
        messages.warning(request, refusal.message, extra_tags=refusal.code)
        return HttpResponseRedirect(request.get_full_path())

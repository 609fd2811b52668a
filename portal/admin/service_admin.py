"""Forms of the admin that are saved by a verb: its refusal is said to the reader and stays in the audit trail."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.admin import ModelAdmin

from runs.errors import Refused


class ServiceModelAdmin(ModelAdmin):
    """Django saves a form in one transaction: a refusal that left it by raising would take its audit entry along."""

    def keep(self, request: HttpRequest, row: Any, form: Any) -> None:
        """Call the verb that saves."""
        raise NotImplementedError

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        try:
            self.keep(request, obj, form)
        except Refused as refusal:
            request.refusal = refusal  # type: ignore[attr-defined]  # lives as long as the request

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """The verb has saved the groups and permissions too."""

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """The audit trail has it."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """The audit trail has it."""

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        response: HttpResponse = self.refused(request) or super().response_add(request, obj, post_url_continue)
        return response

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        response: HttpResponse = self.refused(request) or super().response_change(request, obj)
        return response

    def refused(self, request: HttpRequest) -> HttpResponse | None:
        refusal: Refused | None = getattr(request, "refusal", None)
        if refusal is None:
            return None
        messages.warning(request, refusal.message, extra_tags=refusal.code)
        return HttpResponseRedirect(request.get_full_path())

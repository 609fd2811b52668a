"""The base of the pages of policies and windows: one form, saved and deleted by services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, Q
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.urls import URLPattern, URLResolver, path, reverse
from django.views.decorators.http import require_POST, require_safe

from flows.models import Environment
from portal.admin import matches
from portal.admin.actions import reason_of
from portal.admin.base import RestrictedAdmin
from portal.admin.changes import waiting
from portal.admin.loosening_fields import LooseningFields
from portal.admin.suggestions import deployment_names
from portal.auth.request_user import permissions_of
from portal.ui.live_input import live_region
from runs.actors import is_administrator
from runs.errors import Refused
from runs.governance.loosening import loosened
from runs.governance.loosening_gate import environments_of
from runs.governance.requirements import visible
from runs.models import ChangeRequest, Verb

INPUT = {"class": "portal-input"}
SELECTOR = ["environment", "flow_name", "full_name", "tag"]


class SelectorForm(LooseningFields, forms.ModelForm):  # type: ignore[type-arg]  # Django's class takes no argument when it runs
    """The fields that select the deployments a rule applies to."""

    environment = forms.ModelChoiceField(
        Environment.objects.all(), required=False, empty_label="all environments", widget=forms.Select(INPUT)
    )
    flow_name = forms.CharField(
        label="Flow",
        required=False,
        max_length=300,
        widget=forms.TextInput({**INPUT, "list": "flow-names"}),
        help_text="Blank = all flows.",
    )
    full_name = forms.CharField(
        label="Deployment",
        required=False,
        max_length=601,
        widget=forms.TextInput({**INPUT, "list": "full-names"}),
        help_text="flow name/deployment name. Blank = all deployments.",
    )
    tag = forms.CharField(
        required=False,
        max_length=300,
        widget=forms.TextInput({**INPUT, "list": "tags"}),
        help_text="Only deployments with this tag. Blank = any tags.",
    )

    def __init__(self, data: Any = None, *, instance: Any = None) -> None:
        super().__init__(data, instance=instance, use_required_attribute=False)

    # The template puts the selector into a panel of its own, beside the other fields.

    @property
    def selector(self) -> list[forms.BoundField]:
        return [self[name] for name in SELECTOR]

    @property
    def others(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name not in (*SELECTOR, *LooseningFields.base_fields)]


class SelectorAdmin(RestrictedAdmin):
    """A list, and one page that is read-only except for administrators."""

    form: type[SelectorForm] = SelectorForm
    heading = ""
    template = ""

    def save_row(self, request: HttpRequest, row: Any, confirmation: dict[str, Any]) -> ChangeRequest | None:
        """Call the service that saves the row; return the change request that it became. Raises `Refused`.

        `confirmation` has a reason and what was typed.
        """
        raise NotImplementedError

    def delete_row(self, request: HttpRequest, row: Any, confirmation: dict[str, Any]) -> ChangeRequest | None:
        """Call the service that deletes the row; return the change request that it became. Raises `Refused`."""
        raise NotImplementedError

    def describe(self, row: Any) -> dict[str, Any]:
        """Return the context of an existing rule's page."""
        raise NotImplementedError

    def visible(self, request: HttpRequest, verb: Verb = Verb.SEE) -> Q:
        """Return all rules for readers of the audit trail; for others those that apply to deployments they may see."""
        if request.user.has_perm("runs.view_auditentry"):
            return Q()
        # Matching is done in Python: it depends on the tags of deployments, and there are few rules.
        rows = self.model._default_manager.select_related("environment")
        return Q(pk__in=[row.pk for row in visible(rows, permissions_of(request))])

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_view_permission(request, obj) or request.user.has_perm("runs.view_auditentry")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_administrator(request.user)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        drop: Callable[..., HttpResponse] = self.admin_site.admin_view(require_POST(self.remove))
        name = f"{self.opts.app_label}_{self.opts.model_name}_remove"
        match = self.admin_site.admin_view(require_safe(self.matches))
        return [
            path("<int:pk>/remove/", drop, name=name),
            path("matches/", match, name=f"{self.opts.app_label}_{self.opts.model_name}_matches"),
            *super().get_urls(),
        ]

    def address(self, name: str, *args: Any) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}", args=args)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied(f"Only administrators can add {self.opts.verbose_name_plural}.")
        return self.page(request, self.model())

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied(f"You don't have permission to view {self.opts.verbose_name_plural}.")
        row = self.visible_or_404(request, object_id)
        if request.method == "POST" and not self.has_add_permission(request):
            raise PermissionDenied(f"Only administrators can change {self.opts.verbose_name_plural}.")
        return self.page(request, row)

    def page(self, request: HttpRequest, row: Any) -> HttpResponse:
        """Render the page of a rule, or of a new one, and save the posted form."""
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        # 1. Describe the rule before the form binds: a ModelForm writes typed values into its instance.
        description = self.describe(row) if row.pk else {}
        title = str(row) if row.pk else self.heading
        may_change = self.has_add_permission(request)
        loosens = environments_of(loosened(row, None)) if row.pk and may_change else []
        form = self.form(request.POST if request.method == "POST" else None, instance=row)
        # 2. Save. A refusal becomes an error of the form, so that what was typed stays.
        if request.method == "POST" and form.is_valid():
            form.require_confirmed(loosened(self.model._default_manager.filter(pk=row.pk).first(), form.instance))
        if request.method == "POST" and form.is_valid():
            try:
                change = self.save_row(request, form.instance, form.confirmation)
            except Refused as refusal:
                form.add_error(None, ValidationError(refusal.message, refusal.code))
            else:
                if change:
                    return waiting.show(request, change)
                self.saved(request, form.instance)
                return HttpResponseRedirect(self.address("change", form.instance.pk))
        # 3. Render. Readers who may not change rules get no form at all.
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "original": row if row.pk else None,
            "form": form if may_change else None,
            "list_address": self.address("changelist"),
            "loosens": loosens,
            "remove_address": self.address("remove", row.pk) if row.pk and may_change else "",
            **(self.suggestions(request) if may_change else {}),
            **description,
        }
        return render(request, self.template, context)

    def saved(self, request: HttpRequest, row: Any) -> None:
        """Say that a rule was saved."""
        messages.success(request, f"{row} saved.")

    def suggestions(self, request: HttpRequest) -> dict[str, Any]:
        """Return suggestions for the text fields."""
        region = live_region(f"admin:{self.opts.app_label}_{self.opts.model_name}_matches", matches.WATCHED)
        return {**deployment_names(request), "matches_region": region}

    def matches(self, request: HttpRequest) -> HttpResponse:
        """Answer with the deployments that a rule matches, while it is typed."""
        if not self.has_add_permission(request):
            raise PermissionDenied(f"Only administrators can add {self.opts.verbose_name_plural}.")
        selector = matches.typed_selector(self.model, request.GET, request)
        return render(request, "portal/selector/_typed.html", matches.context_of(request, selector))

    def remove(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied(f"Only administrators can delete {self.opts.verbose_name_plural}.")
        row = self.visible_or_404(request, pk)
        name = str(row)
        try:
            change = self.delete_row(
                request, row, {"reason": reason_of(request), "confirm": request.POST.get("confirm", "").strip()}
            )
        except Refused as refusal:
            messages.warning(request, refusal.message, extra_tags=refusal.code)
            return HttpResponseRedirect(self.address("change", pk))
        if change:
            return waiting.show(request, change)
        messages.success(request, f"{name} deleted.")
        return HttpResponseRedirect(self.address("changelist"))

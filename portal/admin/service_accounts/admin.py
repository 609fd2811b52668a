"""Service accounts: the list, and one page that is read-only except for administrators."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Max, Model, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.safestring import SafeString

from flows.models import Environment
from portal.admin.base import RestrictedAdmin
from portal.admin.changes import waiting
from portal.admin.service_accounts.forms import ServiceAccountForm
from portal.auth.request_user import actor_of
from portal.ui import effective_permissions, tables, times
from portal.ui.rule_labels import Badge
from runs.access.decisions import Permissions, active_grants
from runs.actors import is_administrator
from runs.automation import hooks
from runs.errors import Refused
from runs.governance import job_trusts, service_accounts, tokens
from runs.governance.rule_changes import oversees
from runs.models import ChangeRequest, ServiceAccount, Token, Verb


@admin.register(ServiceAccount)
class ServiceAccountAdmin(RestrictedAdmin):
    list_display = ["name", "owner", "purpose", "is_enabled", "active_tokens", "last_use"]
    list_select_related = ["user", "owner"]
    list_before_template = "portal/service_account/_tools.html"
    search_fields = ["user__username", "owner__username", "purpose"]
    search_help_text = "Name, owner or purpose"
    actions = None

    def visible(self, request: HttpRequest, verb: Verb = Verb.SEE) -> Q:
        """Return all for administrators and readers of the audit trail; for others those that they own."""
        return Q() if oversees(actor_of(request)) else Q(owner=request.user.pk)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ServiceAccount]:
        active = Token.objects.filter(tokens.active(), user=OuterRef("user")).order_by()
        found: QuerySet[ServiceAccount] = super().get_queryset(request).select_related("user", "owner")
        return found.annotate(
            token_count=Coalesce(Subquery(active.values("user").annotate(number=Count("pk")).values("number")), 0),
            last_used_at=Max("user__tokens__last_used_at"),
        )

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let every active user in: who owns none finds an empty list."""
        # Asking here who owns one would be a query on every page, for the menu.
        return bool(request.user.is_active)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_administrator(request.user)

    @admin.display(description="name", ordering="user__username")
    def name(self, account: ServiceAccount) -> str:
        return str(account)

    @admin.display(description="enabled", boolean=True, ordering="user__is_active")
    def is_enabled(self, account: ServiceAccount) -> bool:
        return account.user.is_active

    @admin.display(description="active tokens", ordering="token_count")
    def active_tokens(self, account: Any) -> int:
        found: int = account.token_count
        return found

    @admin.display(description="last use", ordering="last_used_at")
    def last_use(self, account: Any) -> SafeString | str:
        return times.relative_time(account.last_used_at) if account.last_used_at else "never"

    # The page

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied("Only administrators can add service accounts.")
        return self.page(request, None)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        account: ServiceAccount = self.visible_or_404(request, object_id)
        if request.method == "POST" and not self.has_add_permission(request):
            raise PermissionDenied("Only administrators can change service accounts.")
        return self.page(request, account)

    def page(self, request: HttpRequest, account: ServiceAccount | None) -> HttpResponse:
        """Render the page of an account, or of a new one, and save the posted form."""
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        form = ServiceAccountForm(request.POST if request.method == "POST" else None, account=account)
        # 1. Save. A refusal becomes an error of the form, so that what was typed stays.
        if request.method == "POST" and form.is_valid():
            try:
                saved = self.save(request, form, account)
            except Refused as refusal:
                form.refuse(refusal)
            else:
                if isinstance(saved, ChangeRequest):
                    return waiting.show(request, saved)
                messages.success(request, f"{saved} saved.")
                return HttpResponseRedirect(reverse("admin:runs_serviceaccount_change", args=[saved.pk]))
        # 2. Render. Readers who may not change it get no form at all.
        context = {
            **self.admin_site.each_context(request),
            "title": str(account) if account else "Add service account",
            "opts": self.opts,
            "original": account,
            "form": form if self.has_add_permission(request) else None,
            **(self.describe(request, account) if account else {}),
        }
        return render(request, "portal/service_account/page.html", context)

    def save(
        self, request: HttpRequest, form: ServiceAccountForm, account: ServiceAccount | None
    ) -> ServiceAccount | ChangeRequest:
        """Call the service; return the account, or the change request that its change became. Raises `Refused`."""
        by, values = actor_of(request), form.cleaned_data
        if account is None:
            return service_accounts.create(values["name"], owner=values["owner"], purpose=values["purpose"], by=by)
        change = service_accounts.change(
            account,
            owner=values["owner"],
            purpose=values["purpose"],
            is_active=values["is_active"],
            by=by,
            **form.confirmation,
        )
        return change or account

    def describe(self, request: HttpRequest, account: ServiceAccount) -> dict[str, Any]:
        """Return the context of an existing account's page."""
        by = actor_of(request)
        is_enabled = account.user.is_active
        return {
            "badge": Badge("Enabled", "green") if is_enabled else Badge("Disabled", "grey"),
            "is_enabled": is_enabled,
            "grants": tables.GrantTable(active_grants().filter(person=account.user_id)),
            "reach": effective_permissions.rows(Permissions.of_person(account.user), Environment.objects.all()),
            "hooks": tables.HookTable(hooks.visible_to(by).filter(account=account.pk)),
            "tokens": tables.TokenTable(tokens.visible_to(by).filter(user=account.user_id, job_trust=None)),
            "trusts": job_trusts.visible_to(by).filter(job_trusts.open_now(), user=account.user_id),
            "may_create_token": is_enabled and by.is_same_person_as(account.owner_id),
            "may_grant": by.is_administrator,
        }

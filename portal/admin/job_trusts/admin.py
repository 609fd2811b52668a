"""Trusted jobs: created and revoked, never edited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods, require_POST

from portal.admin.actions import perform, redirect_back
from portal.admin.base import RestrictedAdmin
from portal.admin.job_trusts import page
from portal.admin.job_trusts.forms import JobTrustForm
from portal.admin.suggestions import deployment_names
from portal.admin.tokens.forms import ScopeFormSet, Scopes, environments_of
from portal.auth.request_user import actor_of, portal_address
from portal.ui import grant_labels
from runs.errors import Refused
from runs.governance import job_trusts, token_secrets
from runs.models import JobTrust, JobTrustScope


@admin.register(JobTrust)
class JobTrustAdmin(RestrictedAdmin):
    list_display = ["named", "account", "conditions", "expires", "last_used", "state"]
    list_before_template = "portal/job_trust/_tools.html"
    search_fields = ["name", "key", "user__username", "issuer"]
    search_help_text = "Name, key, account or issuer"
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[JobTrust]:
        return job_trusts.visible_to(actor_of(request))

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let every active user in: who owns no service account finds an empty list."""
        return bool(request.user.is_active)

    # The list

    @admin.display(description="name", ordering="name")
    def named(self, trust: JobTrust) -> SafeString:
        return render_to_string("portal/token/_name.html", {"token": trust})

    @admin.display(description="account", ordering="user__username")
    def account(self, trust: JobTrust) -> SafeString:
        context = {"token": trust, "account": trust.user.service_account}
        return render_to_string("portal/token/_account.html", context)

    @admin.display(description="jobs of")
    def conditions(self, trust: JobTrust) -> SafeString:
        return render_to_string("portal/job_trust/_claims.html", {"claims": sorted(trust.claims.items())})

    @admin.display(description="expires", ordering="expires_at")
    def expires(self, trust: JobTrust) -> SafeString:
        return render_to_string("portal/token/_expires.html", {"token": trust})

    @admin.display(description="last used", ordering="last_used_at")
    def last_used(self, trust: JobTrust) -> SafeString:
        return render_to_string("portal/job_trust/_last_used.html", {"trust": trust})

    @admin.display(description="state")
    def state(self, trust: JobTrust) -> SafeString:
        return render_to_string("portal/_state.html", {"row": page.state_badge(trust)})

    def get_urls(self) -> list[URLPattern | URLResolver]:
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "new": ("new/", require_http_methods(["GET", "HEAD", "POST"])(self.new)),
            "revoke": ("<int:pk>/revoke/", require_POST(self.revoke)),
        }
        own = [
            path(route, self.admin_site.admin_view(view), name=f"runs_jobtrust_{name}")
            for name, (route, view) in views.items()
        ]
        return [*own, *super().get_urls()]

    # A new one

    def new(self, request: HttpRequest) -> HttpResponse:
        """Show the form; on POST create the trust."""
        data = request.POST if request.method == "POST" else None
        form = JobTrustForm(actor_of(request).user, data, initial=request.GET.dict())
        scopes: Scopes = ScopeFormSet(environments_of(form.accounts), data)
        # Both are checked, so that all errors are shown at once.
        if data is not None and all([form.is_valid(), scopes.is_valid()]):
            try:
                trust = self.create(request, form, scopes)
            except Refused as refusal:
                form.refuse(refusal)
            else:
                messages.success(request, f"{trust.name} can act as {trust.user} now.")
                return HttpResponseRedirect(page_of(trust))
        context = {
            **self.admin_site.each_context(request),
            "title": "New trusted job",
            "opts": self.opts,
            "form": form,
            "scopes": scopes,
            "has_accounts": form.accounts.exists(),
            "examples": grant_labels.EXAMPLES,
            **deployment_names(request),
        }
        return render(request, "portal/job_trust/new.html", context)

    def create(self, request: HttpRequest, form: JobTrustForm, scopes: Scopes) -> JobTrust:
        names = ("name", "issuer", "audience", "token_minutes")
        return job_trusts.create(
            form.cleaned_data["account"],
            by=actor_of(request),
            claims=form.claims(),
            scopes=[JobTrustScope(**token_secrets.scope_columns(row)) for row in scopes.rows()],
            expires_at=form.expires_at(),
            **{name: form.cleaned_data[name] for name in names},
        )

    # Its page

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        trust: JobTrust = self.visible_or_404(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": trust.name,
            "opts": self.opts,
            "original": trust,
            **page.context(trust, actor_of(request), portal_address(request)),
        }
        return TemplateResponse(request, "portal/job_trust/page.html", context | (extra_context or {}))

    def revoke(self, request: HttpRequest, pk: int) -> HttpResponse:
        trust: JobTrust = self.visible_or_404(request, pk)
        perform(
            request,
            lambda reason: job_trusts.revoke(trust, by=actor_of(request), reason=reason),
            f"Trusted job {trust} revoked.",
        )
        return redirect_back(request, page_of(trust))


def page_of(trust: JobTrust) -> str:
    return reverse("admin:runs_jobtrust_change", args=[trust.pk])

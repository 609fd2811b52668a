"""Grants: created and revoked, never edited. Also the pages "My access" and "Explain access"."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe

from portal.admin.access import explain_page, form_checks, matrix_page, person_page
from portal.admin.access.forms import GrantForm, copy_of
from portal.admin.access.who_field import value_of
from portal.admin.actions import perform, redirect_back
from portal.admin.base import RestrictedAdmin
from portal.admin.changes import waiting
from portal.admin.filters import EnvironmentFilter
from portal.admin.suggestions import deployment_names
from portal.auth.request_user import actor_of, can_view_grants, permissions_of
from portal.lists.filters import ChoiceFilter
from portal.ui import grant_labels, times
from portal.ui.live_input import live_region
from runs.access.decisions import Target
from runs.access.who_can import grants_affecting
from runs.errors import Refused
from runs.governance import grants
from runs.governance.loosening import loosened
from runs.governance.loosening_gate import environments_of
from runs.governance.requirements import requirements_for
from runs.models import ChangeRequest, Grant, Verb


class StandingFilter(ChoiceFilter):
    title = "status"
    parameter_name = "standing"
    every = "Active"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Sequence[tuple[str, str]]:
        return [("later", "Scheduled"), ("expired", "Expired"), ("revoked", "Revoked"), ("all", "All")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Grant]) -> QuerySet[Grant]:
        # The same rules as `grant_labels.status_label`. Active grants are the default: old ones are kept for the record
        # and outnumber them in time.
        now = timezone.now()
        begun, ended = Q(valid_from=None) | Q(valid_from__lte=now), Q(valid_until__lte=now)
        conditions = {
            "all": Q(),
            "revoked": Q(revoked_at__isnull=False),
            "expired": Q(revoked_at=None) & ended,
            "later": Q(revoked_at=None, valid_from__gt=now) & ~ended,
        }
        return queryset.filter(conditions.get(self.value() or "", Q(revoked_at=None) & begun & ~ended))


class EffectFilter(ChoiceFilter):
    title = "effect"
    parameter_name = "effect"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Sequence[tuple[str, str]]:
        return [(str(value), str(label)) for value, label in Grant.Effect.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Grant]) -> QuerySet[Grant]:
        return queryset.filter(effect=self.value()) if self.value() in Grant.Effect.values else queryset


@admin.register(Grant)
class GrantAdmin(RestrictedAdmin):
    list_display = ["subject_shown", "verbs_shown", "where", "until", "standing", "given"]
    list_filter = [StandingFilter, EffectFilter, EnvironmentFilter]
    list_select_related = ["person", "group", "environment"]
    list_before_template = "portal/grant/_tools.html"
    search_fields = [
        *("person__username", "group__name", "flow_name", "full_name", "tag", "reason", "ticket", "granted_by_name")
    ]
    search_help_text = "User, group, flow, deployment, tag, reason, ticket or creator"

    def visible(self, request: HttpRequest, verb: Verb = Verb.SEE) -> Q:
        """Return all grants for readers of grants; for others those they created or that affect what they manage."""
        if can_view_grants(request):
            return Q()
        return Q(granted_by=request.user.pk) | grants_affecting(permissions_of(request), Verb.MANAGE)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(
            request.user.is_active and (can_view_grants(request) or permissions_of(request).can_any(Verb.MANAGE))
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let everyone with `manage` anywhere open the form; the service decides what they can grant."""
        return permissions_of(request).can_any(Verb.MANAGE)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"can_view_matrix": can_view_grants(request), **(extra_context or {})})

    @admin.display(description="granted to", ordering="person__username")
    def subject_shown(self, grant: Grant) -> SafeString:
        return render_to_string("portal/grant/_subject.html", {"grant": grant})

    @admin.display(description="permissions")
    def verbs_shown(self, grant: Grant) -> SafeString:
        return render_to_string("portal/grant/_verbs.html", grant_labels.grant_row(grant))

    @admin.display(description="scope")
    def where(self, grant: Grant) -> str:
        return grant_labels.scope_label(grant)

    @admin.display(description="expires", ordering="valid_until")
    def until(self, grant: Grant) -> SafeString | str:
        return times.relative_time(grant.valid_until) if grant.valid_until else "-"

    @admin.display(description="status")
    def standing(self, grant: Grant) -> SafeString:
        label, tone = grant_labels.status_label(grant)
        return render_to_string("portal/grant/_standing.html", {"label": label, "tone": tone})

    @admin.display(description="created", ordering="granted_at")
    def given(self, grant: Grant) -> SafeString:
        return render_to_string("portal/grant/_given.html", {"grant": grant})

    def get_urls(self) -> list[URLPattern | URLResolver]:
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "revoke": ("<int:pk>/revoke/", require_POST(self.revoke)),
            "matrix": ("matrix/", require_safe(self.matrix)),
            "mine": ("mine/", require_GET(self.my_access)),
            "matches": ("matches/", require_safe(self.matches)),
            "why": ("why/", require_http_methods(["GET", "HEAD", "POST"])(self.why)),
        }
        own = [
            path(route, self.admin_site.admin_view(view), name=f"runs_grant_{name}")
            for name, (route, view) in views.items()
        ]
        # Before Django's own, whose "<path:object_id>/" would match "mine/" as a key.
        return [*own, *super().get_urls()]

    # For every signed-in user
    def my_access(self, request: HttpRequest) -> HttpResponse:
        """Show the reader's own permissions."""
        frame = {**self.own_frame(request), "title": "My access"}
        permissions = permissions_of(request)
        return render(
            request, "portal/people/mine.html", frame | person_page.rights(permissions, permissions.environments())
        )

    def matrix(self, request: HttpRequest) -> HttpResponse:
        """Show who may do what where."""
        return matrix_page.view(request, self.own_frame(request))

    def why(self, request: HttpRequest) -> HttpResponse:
        """Explain a user's access: everyone may ask about themselves, administrators about anyone."""
        return explain_page.view(request, self.own_frame(request))

    def own_frame(self, request: HttpRequest) -> dict[str, Any]:
        """Return the context of a page that is open to everyone, without a breadcrumb that would answer 403."""
        opts = {"opts": self.opts} if self.has_view_permission(request) else {}
        return {**self.admin_site.each_context(request), **opts}

    # The page

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # 1. Django's own view would offer a form. Grants are immutable, so that past permissions stay on record.
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if not self.has_view_permission(request):
            raise PermissionDenied(
                "Only administrators, auditors and users with the manage permission can view grants."
            )
        # 2. The grant, if the reader may see it.
        grant: Grant = self.visible_or_404(request, object_id)
        label, tone = grant_labels.status_label(grant)
        # The link to a ticket comes from the policies of the grant's scope; without an environment there is no scope.
        target = Target(grant.environment, grant.flow_name, grant.full_name) if grant.environment else None
        context = {
            **self.admin_site.each_context(request),
            "title": str(grant),
            "opts": self.opts,
            "original": grant,
            "grant": grant,
            "sentence": grant_labels.describe(grant),
            "where": grant_labels.scope_label(grant),
            "permissions": grant_labels.permissions_label(grant),
            "condition": grant_labels.condition(grant),
            "predicate": json.dumps(grant.predicate, indent=2, ensure_ascii=False) if grant.predicate else "",
            "ticket_link": requirements_for(target).link(grant.ticket) if target and grant.ticket else "",
            "label": label,
            "tone": tone,
            # 3. Its buttons: decided by the service, so that none leads to a refusal.
            "may_revoke": grant.revoked_at is None and grants.can_revoke(grant, actor_of(request)),
            "loosens": environments_of(loosened(grant, None)),
            "may_give_again": grant_labels.has_ended(grant) and self.has_add_permission(request),
        }
        return TemplateResponse(request, "portal/grant/page.html", context | (extra_context or {}))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied("Only administrators and users with the manage permission can create grants.")
        # 1. Create the grant. The service checks what this reader can grant, and records refusals.
        form, context = self.form_for(request), {}
        if request.method == "POST":
            context = form_checks.check(request, form)
        if request.method == "POST" and form.is_valid():
            try:
                grant = grants.grant(by=actor_of(request), **form.arguments())
            except Refused as refusal:
                # What was typed stays in the form.
                form.add_error(None, ValidationError(refusal.message, refusal.code))
            else:
                if isinstance(grant, ChangeRequest):
                    return waiting.show(request, grant)
                messages.success(request, grant_labels.describe(grant))
                return HttpResponseRedirect(reverse("admin:runs_grant_change", args=[grant.pk]))
        # 2. The form, with what was typed and the errors.
        context = {
            **self.admin_site.each_context(request),
            "title": "Create grant",
            "opts": self.opts,
            "form": form,
            "verb_groups": form.verb_groups(),
            "denied_together": grant_labels.denied_together(),
            "examples": grant_labels.EXAMPLES,
            "is_delegating": not actor_of(request).is_administrator,
            "time_zone": timezone.get_current_timezone_name(),
            "region": live_region("admin:runs_grant_matches", form_checks.WATCHED),
            **(context or deployment_names(request)),
        }
        return render(request, "portal/grant/add.html", context | (extra_context or {}))

    def matches(self, request: HttpRequest) -> HttpResponse:
        """Answer with what a grant matches and what its rules say, while it is typed."""
        if not self.has_add_permission(request):
            raise PermissionDenied("Only administrators and users with the manage permission can create grants.")
        return render(request, "portal/grant/_typed.html", form_checks.typed_context(request))

    def form_for(self, request: HttpRequest) -> GrantForm:
        """Return the form without what this reader cannot grant; `?again=` prefills it from another grant."""
        is_administrator = actor_of(request).is_administrator
        initial: dict[str, Any] = request.GET.dict()
        # A grant that the reader may not see must not be readable through the prefilled form.
        # Links from the pages of people and groups.
        initial |= {"who": value_of(initial.pop("person", ""), initial.pop("group", "")) or initial.get("who", "")}
        if earlier := initial.pop("again", ""):
            initial |= copy_of(self.visible_or_404(request, earlier))
        return GrantForm(
            request.POST if request.method == "POST" else None,
            initial,
            environments=None if is_administrator else permissions_of(request).environments(),
            is_administrator=is_administrator,
        )

    def revoke(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied("Only administrators and the creator of a grant can revoke it.")
        grant: Grant = self.visible_or_404(request, pk)
        # The service checks again; here the answer is a 403 page instead of a message on a page without a button.
        if not grants.can_revoke(grant, actor_of(request)):
            raise PermissionDenied("You can revoke only grants that you created.")
        ticket, confirm = request.POST.get("ticket", "").strip(), request.POST.get("confirm", "").strip()
        perform(
            request,
            lambda reason: grants.revoke(grant, by=actor_of(request), reason=reason, ticket=ticket, confirm=confirm),
            "Grant revoked.",
        )
        return redirect_back(request, reverse("admin:runs_grant_change", args=[grant.pk]))

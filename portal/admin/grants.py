"""Grants: who may do what; given and revoked, never edited."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from unfold.contrib.filters.admin import RadioFilter

from flows.access import Refused, Target
from flows.models import Grant, Verb
from flows.reach import bearing_on
from portal import grant_words, times
from portal.admin import person_page, why_page
from portal.admin.base import RestrictedAdmin, actor, holding
from portal.admin.buttons import back, press
from portal.admin.filters import EnvironmentFilter
from portal.admin.grant_form import GrantForm, again
from portal.reader import sees_grants
from runs import granting
from runs.rules import rules_for

MOST_SUGGESTIONS = 500


class StandingFilter(RadioFilter):
    title = "standing"
    parameter_name = "standing"
    all_option = ["", "in force"]

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Sequence[tuple[str, str]]:
        return [("later", "not yet"), ("expired", "expired"), ("revoked", "revoked"), ("all", "all")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Grant]) -> QuerySet[Grant]:
        now = timezone.now()
        begun, ended = Q(valid_from=None) | Q(valid_from__lte=now), Q(valid_until__lte=now)
        table = {
            "all": Q(),
            "revoked": Q(revoked_at__isnull=False),
            "expired": Q(revoked_at=None) & ended,
            "later": Q(revoked_at=None, valid_from__gt=now) & ~ended,
        }
        return queryset.filter(table.get(self.value() or "", Q(revoked_at=None) & begun & ~ended))


class EffectFilter(RadioFilter):
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
    list_filter_submit = True
    list_select_related = ["person", "group", "environment"]
    search_fields = [
        *("person__username", "group__name", "flow_name", "full_name", "tag", "reason", "ticket", "granted_by_name")
    ]
    search_help_text = "Person, group, flow, deployment, tag, reason, ticket, or who gave it"

    def visible(self, request: HttpRequest, verb: Verb = Verb.SEE) -> Q:
        """All, or those they gave and those that bear on what they manage."""
        if sees_grants(request):
            return Q()
        return Q(granted_by=request.user.pk) | bearing_on(holding(request), Verb.MANAGE)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(request.user.is_active and (sees_grants(request) or holding(request).may_any(Verb.MANAGE)))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Whoever holds `manage` somewhere may try; what they may hand out is said by the verb."""
        return request.user.has_perm("flows.add_grant") or holding(request).may_any(Verb.MANAGE)

    @admin.display(description="who", ordering="person__username")
    def subject_shown(self, grant: Grant) -> SafeString:
        return render_to_string("portal/grant/_subject.html", {"grant": grant})

    @admin.display(description="may")
    def verbs_shown(self, grant: Grant) -> SafeString:
        return render_to_string("portal/grant/_verbs.html", grant_words.shown(grant))

    @admin.display(description="where")
    def where(self, grant: Grant) -> str:
        return grant_words.where(grant)

    @admin.display(description="until", ordering="valid_until")
    def until(self, grant: Grant) -> SafeString | str:
        return times.when(grant.valid_until) if grant.valid_until else "-"

    @admin.display(description="standing")
    def standing(self, grant: Grant) -> SafeString:
        label, tone = grant_words.standing(grant)
        return render_to_string("portal/grant/_standing.html", {"label": label, "tone": tone})

    @admin.display(description="given", ordering="granted_at")
    def given(self, grant: Grant) -> SafeString:
        return render_to_string("portal/grant/_given.html", {"grant": grant})

    def get_urls(self) -> list[URLPattern | URLResolver]:
        doors: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "revoke": ("<int:pk>/revoke/", require_POST(self.revoke)),
            "mine": ("mine/", require_GET(self.mine)),
            "why": ("why/", require_http_methods(["GET", "HEAD", "POST"])(self.why)),
        }
        own = [
            path(route, self.admin_site.admin_view(view), name=f"flows_grant_{name}")
            for name, (route, view) in doors.items()
        ]
        return [*own, *super().get_urls()]

    # Everybody's own

    def mine(self, request: HttpRequest) -> HttpResponse:
        """What the reader may do themselves."""
        frame = {**self.admin_site.each_context(request), "title": "What you may do", "opts": self.opts}
        mine = holding(request)
        return render(request, "portal/people/mine.html", frame | person_page.rights(mine, mine.environments()))

    def why(self, request: HttpRequest) -> HttpResponse:
        """Why somebody may or may not: of themselves for everybody, of others for administrators."""
        return why_page.view(request, {**self.admin_site.each_context(request), "opts": self.opts})

    # The page

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if not self.has_view_permission(request):
            raise PermissionDenied("Grants are read by administrators, auditors, and whoever manages deployments.")
        grant: Grant = self.visible_or_404(request, object_id)
        label, tone = grant_words.standing(grant)
        target = Target(grant.environment, grant.flow_name, grant.full_name) if grant.environment else None
        context = {
            **self.admin_site.each_context(request),
            "title": str(grant),
            "opts": self.opts,
            "original": grant,
            "grant": grant,
            "sentence": grant_words.sentence(grant),
            "where": grant_words.where(grant),
            "what": grant_words.what(grant),
            "condition": grant_words.condition(grant),
            "predicate": json.dumps(grant.predicate, indent=2, ensure_ascii=False) if grant.predicate else "",
            "ticket_link": rules_for(target).link(grant.ticket) if target and grant.ticket else "",
            "label": label,
            "tone": tone,
            "may_revoke": grant.revoked_at is None and granting.may_revoke(grant, actor(request)),
            "may_give_again": grant_words.is_over(grant) and self.has_add_permission(request),
        }
        return TemplateResponse(request, "portal/grant/page.html", context | (extra_context or {}))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied("Grants are given by administrators, and by whoever manages deployments.")
        form = self.form_for(request)
        if request.method == "POST" and form.is_valid():
            try:
                grant = granting.grant(by=actor(request), **form.cleaned_data)
            except Refused as refusal:
                form.add_error(None, str(refusal))
            else:
                messages.success(request, grant_words.sentence(grant))
                return HttpResponseRedirect(reverse("admin:flows_grant_change", args=[grant.pk]))
        context = {
            **self.admin_site.each_context(request),
            "title": "Give a grant",
            "opts": self.opts,
            "form": form,
            "verb_groups": form.verb_groups(),
            "examples": grant_words.EXAMPLES,
            "hands_on": not request.user.has_perm("flows.add_grant"),
            "time_zone": timezone.get_current_timezone_name(),
            **self.suggestions(request),
        }
        return render(request, "portal/grant/add.html", context | (extra_context or {}))

    def form_for(self, request: HttpRequest) -> GrantForm:
        """For whoever hands on, without what they could not give anyway; `?again=` is a grant to give once more."""
        is_administrator = request.user.has_perm("flows.add_grant")
        initial: dict[str, Any] = request.GET.dict()
        if earlier := initial.pop("again", ""):
            initial |= again(self.visible_or_404(request, earlier))
        return GrantForm(
            request.POST if request.method == "POST" else None,
            initial,
            environments=None if is_administrator else holding(request).environments(),
            may_prohibit=is_administrator,
        )

    def suggestions(self, request: HttpRequest) -> dict[str, list[str]]:
        """Names to choose from while typing, as far as the giver may see them."""
        seen = list(
            holding(request)
            .deployments()
            .filter(gone_at=None)
            .values_list("flow_name", "full_name", "tags")
            .order_by("full_name")[:MOST_SUGGESTIONS]
        )
        return {
            "flow_names": sorted({flow_name for flow_name, _, _ in seen}),
            "full_names": sorted({full_name for _, full_name, _ in seen}),
            "tags": sorted({tag for _, _, tags in seen for tag in tags}),
        }

    def revoke(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied("Grants are revoked by administrators, and by whoever gave them.")
        grant: Grant = self.visible_or_404(request, pk)
        if not granting.may_revoke(grant, actor(request)):
            raise PermissionDenied("You may end only grants that you gave.")
        ticket = request.POST.get("ticket", "").strip()
        press(
            request,
            lambda reason: granting.revoke(grant, by=actor(request), reason=reason, ticket=ticket),
            "Revoked. It ends now.",
        )
        return back(request, reverse("admin:flows_grant_change", args=[grant.pk]))

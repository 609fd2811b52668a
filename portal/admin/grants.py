"""Grants: who may do what; given and revoked, never edited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.contrib.filters.admin import RadioFilter

from flows.access import Refused
from flows.models import Environment, Grant, Verb
from portal import grant_words, times
from portal.admin.base import RestrictedAdmin, actor, holding
from portal.admin.buttons import back, press
from portal.admin.filters import EnvironmentFilter
from runs import granting

MOST_SUGGESTIONS = 500
INPUT = {"class": "portal-input"}
MOMENTS = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"]


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


def moment(label: str, help_text: str) -> forms.DateTimeField:
    return forms.DateTimeField(
        label=label,
        required=False,
        input_formats=MOMENTS,
        help_text=help_text,
        widget=forms.DateTimeInput(format=MOMENTS[0], attrs={**INPUT, "type": "datetime-local"}),
        error_messages={"invalid": "Write the date and time as 2026-01-31 14:30."},
    )


class GrantForm(forms.Form):
    """What `granting.grant` wants to know."""

    person = forms.ModelChoiceField(
        User.objects.filter(is_active=True).order_by("username"),
        required=False,
        widget=forms.Select(INPUT),
        help_text="Either a person or a group.",
    )
    group = forms.ModelChoiceField(Group.objects.order_by("name"), required=False, widget=forms.Select(INPUT))
    effect = forms.ChoiceField(
        choices=[("allow", "Allow"), ("deny", "Prohibit")],
        widget=forms.RadioSelect,
        initial=Grant.Effect.ALLOW,
        help_text="A prohibition wins over every permission.",
    )
    verbs = forms.MultipleChoiceField(choices=Verb.choices, widget=forms.CheckboxSelectMultiple)
    environment = forms.ModelChoiceField(
        Environment.objects.all(),
        required=False,
        empty_label="every environment that is not protected",
        widget=forms.Select(INPUT),
        help_text="A protected environment counts only when it is named. A prohibition of every environment covers "
        "the protected ones too.",
    )
    flow_name = forms.CharField(
        label="Flow",
        required=False,
        max_length=300,
        widget=forms.TextInput({**INPUT, "list": "flow-names"}),
        help_text="Left empty: every flow.",
    )
    full_name = forms.CharField(
        label="Deployment",
        required=False,
        max_length=601,
        widget=forms.TextInput({**INPUT, "list": "full-names"}),
        help_text="flow name/deployment name. Left empty: every deployment.",
    )
    tag = forms.CharField(
        required=False,
        max_length=300,
        widget=forms.TextInput({**INPUT, "list": "tags"}),
        help_text="Only deployments with this tag. Left empty: whatever their tags.",
    )
    valid_from = moment("From", "Left empty: from now on.")
    valid_until = moment("Until", "Left empty: until it is revoked.")
    reason = forms.CharField(required=False, max_length=500, widget=forms.Textarea({**INPUT, "rows": 2}))

    def __init__(self, data: Any = None, initial: Any = None) -> None:
        super().__init__(data, initial=initial, use_required_attribute=False)
        self.fields["verbs"].error_messages["required"] = "Tick at least one."

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if bool(values.get("person")) == bool(values.get("group")):
            self.add_error("person", "Name a person or a group, one of the two.")
        until = values.get("valid_until")
        if until and until <= timezone.now():
            self.add_error("valid_until", "That moment has passed: the grant would never count.")
        return values


@admin.register(Grant)
class GrantAdmin(RestrictedAdmin):
    list_display = ["subject_shown", "verbs_shown", "where", "until", "standing", "given"]
    list_filter = [StandingFilter, EffectFilter, EnvironmentFilter]
    list_filter_submit = True
    list_select_related = ["person", "group", "environment"]
    search_fields = ["person__username", "group__name", "flow_name", "full_name", "tag", "reason"]

    def visible(self, request: HttpRequest, verb: Verb = Verb.SEE) -> Q:
        return Q()

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Whoever reads the audit trail reads of every grant there."""
        user = request.user
        return bool(user.is_active and (user.has_perm("flows.view_grant") or user.has_perm("runs.view_auditentry")))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("flows.add_grant")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("flows.change_grant")

    @admin.display(description="who", ordering="person__username")
    def subject_shown(self, grant: Grant) -> SafeString:
        return render_to_string("portal/grant/_subject.html", {"grant": grant})

    @admin.display(description="may")
    def verbs_shown(self, grant: Grant) -> SafeString:
        prohibits = grant_words.is_prohibition(grant)
        return render_to_string("portal/grant/_verbs.html", {"grant": grant, "is_prohibition": prohibits})

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
        revoke: Callable[..., HttpResponse] = self.admin_site.admin_view(require_POST(self.revoke))
        return [path("<int:pk>/revoke/", revoke, name="flows_grant_revoke"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if not self.has_view_permission(request):
            raise PermissionDenied("Grants are read by administrators and auditors.")
        grant: Grant = self.visible_or_404(request, object_id)
        label, tone = grant_words.standing(grant)
        context = {
            **self.admin_site.each_context(request),
            "title": str(grant),
            "opts": self.opts,
            "original": grant,
            "grant": grant,
            "sentence": grant_words.sentence(grant),
            "where": grant_words.where(grant),
            "what": grant_words.what(grant),
            "label": label,
            "tone": tone,
            "may_revoke": self.has_revoke_permission(request) and grant.revoked_at is None,
        }
        return TemplateResponse(request, "portal/grant/page.html", context | (extra_context or {}))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied("Grants are given by administrators.")
        form = GrantForm(request.POST) if request.method == "POST" else GrantForm(initial=request.GET.dict())
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
            "time_zone": timezone.get_current_timezone_name(),
            **self.suggestions(request),
        }
        return render(request, "portal/grant/add.html", context | (extra_context or {}))

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
        if not self.has_revoke_permission(request):
            raise PermissionDenied("Grants are revoked by administrators.")
        grant: Grant = self.visible_or_404(request, pk)
        press(request, lambda reason: granting.revoke(grant, by=actor(request), reason=reason), "Revoked. It ends now.")
        return back(request, reverse("admin:flows_grant_change", args=[grant.pk]))

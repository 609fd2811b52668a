"""Resource profiles: the list, a new one, the page of one, and the address that removes it."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods, require_POST

from flows.models import WorkPool
from portal.admin.actions import perform
from portal.admin.base import RestrictedAdmin
from portal.admin.changes import waiting
from portal.admin.filters import EnvironmentFilter
from portal.admin.resource_profiles.filters import RemovedFilter
from portal.admin.resource_profiles.forms import ProfileForm
from portal.auth.request_user import actor_of, permissions_of
from portal.ui import times
from portal.ui.profile_settings import settings_of
from portal.ui.text import number
from runs.audit.lines import Columns
from runs.errors import Refused
from runs.governance import resource_profiles
from runs.models import ChangeRequest, ResourceProfile
from runs.requests.profile_listings import RESOURCE_PROFILES
from runs.work_pools import WORK_POOLS


@admin.register(ResourceProfile)
class ResourceProfileAdmin(RestrictedAdmin):
    list_display = ["name", "state", "where", "runs_in", "sets", "chosen_by", "created"]
    list_filter = [EnvironmentFilter, RemovedFilter]
    list_before_template = "portal/resource_profile/_tools.html"
    search_fields = ["name", "description", "pool_name", "pool_type"]
    search_help_text = "Name, description, work pool or type"
    standard_views: ClassVar[dict[str, str]] = {"Active": "state=active"}
    csv_columns: ClassVar[Columns] = {
        "number": lambda profile: profile.pk,
        "resource profile": lambda profile: profile.name,
        "environment": lambda profile: profile.environment.slug,
        "runs in": lambda profile: profile.place,
        "sets": lambda profile: text_of(profile),
        "groups": lambda profile: ", ".join(profile.groups),
        "created": lambda profile: profile.created_at,
        "removed": lambda profile: profile.removed_at,
    }
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[ResourceProfile]:
        return RESOURCE_PROFILES.rows(actor_of(request), permissions=permissions_of(request))

    @admin.display(description="state")
    def state(self, profile: ResourceProfile) -> SafeString:
        return render_to_string("portal/_state.html", {"row": badge_of(profile)})

    @admin.display(description="environment")
    def where(self, profile: ResourceProfile) -> SafeString:
        return render_to_string("portal/_environment.html", {"environment": profile.environment})

    @admin.display(description="runs in")
    def runs_in(self, profile: ResourceProfile) -> str:
        return profile.place

    @admin.display(description="sets")
    def sets(self, profile: ResourceProfile) -> str:
        return text_of(profile)

    @admin.display(description="chosen by")
    def chosen_by(self, profile: ResourceProfile) -> str:
        return ", ".join(profile.groups) or "everyone"

    @admin.display(description="created", ordering="created_at")
    def created(self, profile: ResourceProfile) -> SafeString:
        return times.relative_time(profile.created_at)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        new = require_http_methods(["GET", "HEAD", "POST"])(self.new)
        remove = require_POST(self.remove)
        own = [
            path("new/", self.admin_site.admin_view(new), name="runs_resourceprofile_new"),
            path("<int:pk>/remove/", self.admin_site.admin_view(remove), name="runs_resourceprofile_remove"),
        ]
        return [*own, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"may_create": actor_of(request).is_administrator, **(extra_context or {})}
        return super().changelist_view(request, context)

    # A new one

    def new(self, request: HttpRequest) -> HttpResponse:
        """Show the form, filled in with another profile where the address names one; on POST create the profile."""
        if not actor_of(request).is_administrator:
            raise PermissionDenied("Only administrators can create resource profiles.")
        if request.method == "POST":
            form = ProfileForm(request.POST)
            if form.is_valid() and (made := self.create(request, form)):
                return made
        else:
            like = self.get_queryset(request).filter(pk=number(request.GET.get("like"), otherwise=0) or 0).first()
            form = ProfileForm(like=like)
        context = {
            **self.admin_site.each_context(request),
            "title": "New resource profile",
            "opts": self.opts,
            "form": form,
        }
        return render(request, "portal/resource_profile/form.html", context)

    def create(self, request: HttpRequest, form: ProfileForm) -> HttpResponse | None:
        """Create the profile of a valid form; None if it is refused, which the form then says."""
        try:
            made = resource_profiles.create(form.environment, by=actor_of(request), **form.arguments)
        except Refused as refusal:
            form.refuse(refusal)
            return None
        if isinstance(made, ChangeRequest):
            return waiting.show(request, made)
        messages.success(request, "Resource profile created. It can be chosen now.")
        return HttpResponseRedirect(reverse("admin:runs_resourceprofile_change", args=[made.pk]))

    # Its page

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        profile: ResourceProfile = self.visible_or_404(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Resource profile {profile}",
            "opts": self.opts,
            "original": profile,
            "profile": profile,
            "badge": badge_of(profile),
            "sets": settings_of(profile.contents),
            "pool": pool_of(request, profile),
            "may_change": actor_of(request).is_administrator,
        }
        return TemplateResponse(request, "portal/resource_profile/page.html", context | (extra_context or {}))

    def remove(self, request: HttpRequest, pk: int) -> HttpResponse:
        profile: ResourceProfile = self.visible_or_404(request, pk)
        if not actor_of(request).is_administrator:
            raise PermissionDenied("Only administrators can remove resource profiles.")
        perform(
            request,
            lambda reason: resource_profiles.remove(profile, by=actor_of(request), reason=reason),
            "Resource profile removed.",
        )
        return HttpResponseRedirect(reverse("admin:runs_resourceprofile_change", args=[profile.pk]))


def pool_of(request: HttpRequest, profile: ResourceProfile) -> WorkPool | None:
    """Return the work pool that the page can lead to: none that the reader does not see."""
    if not profile.pool_name:
        return None
    rows = WORK_POOLS.rows(actor_of(request), permissions=permissions_of(request))
    return rows.filter(environment=profile.environment_id, name=profile.pool_name).first()


def text_of(profile: ResourceProfile) -> str:
    found = settings_of(profile.contents)
    return ", ".join(f"{each.name} {each.value}" for each in found.settings) if found else ""


def badge_of(profile: ResourceProfile) -> dict[str, str]:
    if profile.removed_at:
        return {"state_label": "Removed", "state_colour": "grey"}
    return {"state_label": "Active", "state_colour": "green"}

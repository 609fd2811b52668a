"""Service levels: the list, a new one, the page of one, and the address that removes it."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import F, Func, IntegerField, Model, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods, require_POST

from portal.admin.actions import perform
from portal.admin.base import RestrictedAdmin
from portal.admin.filters import EnvironmentFilter
from portal.admin.levels.filters import KindFilter, LevelStateFilter
from portal.admin.levels.forms import LevelForm
from portal.auth.request_user import actor_of, permissions_of
from portal.ui import times
from runs import levels
from runs.access.decisions import Permissions
from runs.audit.lines import Columns
from runs.errors import Refused
from runs.models import ServiceLevel, Verb

MOST_BREACHES = 50


@admin.register(ServiceLevel)
class ServiceLevelAdmin(RestrictedAdmin):
    list_display = ["level", "state", "applies_to", "where", "owner_shown", "created"]
    list_filter = [EnvironmentFilter, LevelStateFilter, KindFilter]
    list_before_template = "portal/level/_tools.html"
    search_fields = ["full_name", "tag", "owner__username"]
    search_help_text = "Deployment, tag or owner"
    standard_views: ClassVar[dict[str, str]] = {"Breached": "state=breached", "Active": "state=active"}
    csv_columns: ClassVar[Columns] = {
        "number": lambda level: level.pk,
        "service level": lambda level: level.sentence,
        "environment": lambda level: level.environment.slug,
        "applies to": lambda level: level.selector,
        "breaches": lambda level: level.open_breaches,
        "owner": lambda level: level.owner.get_username() if level.owner else "",
        "runbook": lambda level: level.runbook,
        "created": lambda level: level.created_at,
        "removed": lambda level: level.removed_at,
    }
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[ServiceLevel]:
        permissions = permissions_of(request)
        # Only of the deployments that the reader sees.
        numbers = levels.open_breaches(permissions).filter(level=OuterRef("pk")).order_by()
        counted = numbers.annotate(number=Func(F("pk"), function="count")).values("number")
        return levels.LEVELS.rows(actor_of(request), permissions=permissions).annotate(
            open_breaches=Coalesce(Subquery(counted, output_field=IntegerField()), 0)
        )

    @admin.display(description="service level")
    def level(self, level: ServiceLevel) -> str:
        return level.sentence

    @admin.display(description="state")
    def state(self, level: Any) -> SafeString:
        return render_to_string("portal/_state.html", {"row": badge_of(level)})

    @admin.display(description="applies to")
    def applies_to(self, level: ServiceLevel) -> str:
        return level.selector

    @admin.display(description="environment")
    def where(self, level: ServiceLevel) -> SafeString:
        return render_to_string("portal/_environment.html", {"environment": level.environment})

    @admin.display(description="owner")
    def owner_shown(self, level: ServiceLevel) -> str:
        return level.owner.get_username() if level.owner else "-"

    @admin.display(description="created", ordering="created_at")
    def created(self, level: ServiceLevel) -> SafeString:
        return times.relative_time(level.created_at)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        new = require_http_methods(["GET", "HEAD", "POST"])(self.new)
        own = [
            path("new/", self.admin_site.admin_view(new), name="runs_servicelevel_new"),
            path(
                "<int:pk>/remove/",
                self.admin_site.admin_view(require_POST(self.remove)),
                name="runs_servicelevel_remove",
            ),
        ]
        return [*own, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"may_create": permissions_of(request).can_any(Verb.MANAGE), **(extra_context or {})}
        return super().changelist_view(request, context)

    # A new one

    def new(self, request: HttpRequest) -> HttpResponse:
        """Show the form; on POST create the level."""
        permissions = permissions_of(request)
        data = request.POST if request.method == "POST" else None
        form = LevelForm(permissions, data, initial=request.GET.dict())
        if data is not None and form.is_valid() and (made := self.create(request, form)):
            return made
        context = {
            **self.admin_site.each_context(request),
            "title": "New service level",
            "opts": self.opts,
            "form": form,
            "newest": form.newest(),
        }
        return render(request, "portal/level/form.html", context)

    def create(self, request: HttpRequest, form: LevelForm) -> HttpResponse | None:
        """Create the level of a valid form, once; None if it is refused, which the form then says."""
        if form.is_repeated():
            messages.warning(request, "This service level has just been created.", extra_tags="level.repeated")
            return HttpResponseRedirect(reverse("admin:runs_servicelevel_changelist"))
        try:
            made = levels.create(**{**form.arguments(), "owner": form.owner_of()}, by=actor_of(request))
        except Refused as refusal:
            form.refuse(refusal)
            return None
        messages.success(request, "Service level created. It is evaluated every minute.")
        return HttpResponseRedirect(reverse("admin:runs_servicelevel_change", args=[made.pk]))

    # Its page

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        level: ServiceLevel = self.visible_or_404(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": "Service level",
            "opts": self.opts,
            "original": level,
            **page_context(level, request, permissions_of(request)),
        }
        return TemplateResponse(request, "portal/level/page.html", context | (extra_context or {}))

    def remove(self, request: HttpRequest, pk: int) -> HttpResponse:
        level: ServiceLevel = self.visible_or_404(request, pk)
        perform(
            request, lambda reason: levels.remove(level, by=actor_of(request), reason=reason), "Service level removed."
        )
        return HttpResponseRedirect(reverse("admin:runs_servicelevel_change", args=[level.pk]))


def page_context(level: ServiceLevel, request: HttpRequest, permissions: Permissions) -> dict[str, Any]:
    breaches = levels.BREACHES.rows(actor_of(request), {"level": level.pk}, permissions=permissions)
    # Open ones first.
    ordered = breaches.order_by(F("cleared_at").desc(nulls_first=True), "-opened_at", "-pk")
    return {
        "level": level,
        "badge": badge_of(level),
        "unit": levels.UNITS[ServiceLevel.Kind(level.kind)][0],
        "breaches": list(ordered[:MOST_BREACHES]),
        "may_remove": level.removed_at is None and levels.can_manage(permissions, level),
    }


def badge_of(level: Model) -> dict[str, str]:
    """Return the state of a level that was selected with the number of its open breaches."""
    number: int = level.open_breaches  # type: ignore[attr-defined]  # annotated by the list
    if level.removed_at:  # type: ignore[attr-defined]  # of a level
        return {"state_label": "Removed", "state_colour": "grey"}
    if number:
        return {"state_label": "Breached" if number == 1 else f"Breached {number} times", "state_colour": "red"}
    return {"state_label": "Met", "state_colour": "green"}

"""Presets: the list, the page of one, and the addresses that rename, share and delete it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from portal.admin.actions import perform, redirect_back
from portal.admin.base import RestrictedAdmin
from portal.admin.filters import EnvironmentFilter
from portal.admin.presets import page
from portal.auth.request_user import actor_of, permissions_of
from portal.ui import times
from runs.models import Preset
from runs.requests import presets
from runs.requests.preset_listings import PRESETS


@admin.register(Preset)
class PresetAdmin(RestrictedAdmin):
    list_display = ["name", "deployment_shown", "owner", "shared", "changed"]
    list_filter = [EnvironmentFilter]
    list_before_template = "portal/preset/_tools.html"
    search_fields = ["name", "full_name", "owner__username"]
    search_help_text = "Name, deployment or owner"
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Preset]:
        return PRESETS.rows(actor_of(request), permissions=permissions_of(request))

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let every active user in: who has no preset finds an empty list."""
        return bool(request.user.is_active)

    @admin.display(description="deployment", ordering="full_name")
    def deployment_shown(self, preset: Preset) -> SafeString:
        return render_to_string("portal/preset/_deployment.html", {"preset": preset})

    @admin.display(description="shared", ordering="is_shared")
    def shared(self, preset: Preset) -> str:
        return "shared" if preset.is_shared else "only for the owner"

    @admin.display(description="changed", ordering="changed_at")
    def changed(self, preset: Preset) -> SafeString:
        return times.relative_time(preset.changed_at)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "rename": ("<int:pk>/rename/", require_POST(self.rename)),
            "share": ("<int:pk>/share/", require_POST(self.share)),
            "unshare": ("<int:pk>/unshare/", require_POST(self.unshare)),
            "remove": ("<int:pk>/remove/", require_POST(self.remove)),
        }
        own = [
            path(route, self.admin_site.admin_view(view), name=f"runs_preset_{name}")
            for name, (route, view) in views.items()
        ]
        return [*own, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        preset: Preset = self.visible_or_404(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": preset.name,
            "opts": self.opts,
            "original": preset,
            **page.context(preset, actor_of(request), permissions_of(request)),
        }
        return TemplateResponse(request, "portal/preset/page.html", context | (extra_context or {}))

    def rename(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.change(request, pk, "Renamed.", name=request.POST.get("name", ""))

    def share(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.change(request, pk, "Shared.", is_shared=True)

    def unshare(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.change(request, pk, "No longer shared.", is_shared=False)

    def change(self, request: HttpRequest, pk: int, done: str, **changes: Any) -> HttpResponse:
        preset: Preset = self.visible_or_404(request, pk)
        perform(request, lambda reason: presets.change(preset, by=actor_of(request), **changes), done)
        return redirect_back(request, reverse("admin:runs_preset_change", args=[preset.pk]))

    def remove(self, request: HttpRequest, pk: int) -> HttpResponse:
        preset: Preset = self.visible_or_404(request, pk)
        perform(request, lambda reason: presets.delete(preset, by=actor_of(request)), f"Preset {preset} deleted.")
        if self.get_queryset(request).filter(pk=pk).exists():
            return HttpResponseRedirect(reverse("admin:runs_preset_change", args=[pk]))
        return HttpResponseRedirect(reverse("admin:runs_preset_changelist"))

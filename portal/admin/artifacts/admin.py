"""Artifacts of runs: the list, the page of one, and the sandboxed frame for HTML."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.csp import csp_override
from django.views.decorators.http import require_safe

from portal.admin.base import RestrictedAdmin
from portal.admin.filters import EnvironmentFilter
from portal.auth.request_user import permissions_of
from portal.lists.change_list import KeysetList
from portal.lists.rendered_rows import narrow_line
from portal.ui import artifact_view, freshness, times
from runs.audit.lines import Columns
from runs.models import Artifact, Verb

# Content security policy of HTML from a flow, which may be hostile: styles and inline images only. No scripts, no
# requests, no forms, no navigation out of the frame.
FRAME: dict[str, Any] = {
    "default-src": ["'none'"],
    "style-src": ["'unsafe-inline'"],
    "img-src": ["data:"],
    "font-src": ["data:"],
    "frame-ancestors": ["'self'"],
    "sandbox": True,
}


@admin.register(Artifact)
class ArtifactAdmin(RestrictedAdmin):
    list_display = ["named", "kind", "where", "linked_run", "created"]
    list_display_links = ["named"]
    list_filter = [EnvironmentFilter]
    search_fields = ["key", "description"]
    search_help_text = "Key or description"
    ordering = ["-pk"]
    sortable_by: list[str] = []
    csv_columns: ClassVar[Columns] = {
        "artifact": lambda row: row.key,
        "id": lambda row: row.prefect_id,
        "type": lambda row: row.type,
        "environment": lambda row: row.environment.slug,
        "run": lambda row: row.run.name,
        "run id": lambda row: row.run.prefect_id,
        "created": lambda row: row.created_upstream_at,
    }
    deployment_lookup = "run__access_deployment__"
    base_lookup = "run__"

    def visible(self, request: HttpRequest, verb: Verb = Verb.SEE) -> Q:
        """Artifacts quote what a run worked on, so they need the same permission as its log."""
        see, logs = super().visible(request, verb), super().visible(request, Verb.SEE_LOGS)
        # Most grants give both. Once, because Postgres takes the same condition twice for a rarer one.
        return logs if see == logs else see & logs

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_view_permission(request, obj) and permissions_of(request).can_any(Verb.SEE_LOGS)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetList]:
        return KeysetList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Artifact]:
        return super().get_queryset(request).select_related("environment__server__health", "run__deployment")

    @admin.display(description="artifact")
    def named(self, artifact: Artifact) -> SafeString:
        line = narrow_line(artifact.environment, str(artifact.run), artifact.created_upstream_at)
        return format_html("{}{}", self.titled(artifact), line)

    def titled(self, artifact: Artifact) -> str:
        # In Prefect an artifact can be without a key.
        return artifact.key.strip() or Truncator(artifact.description.strip()).chars(60) or str(artifact)

    @admin.display(description="type")
    def kind(self, artifact: Artifact) -> str:
        return "page" if artifact_view.is_page(artifact) else artifact.type

    @admin.display(description="environment")
    def where(self, artifact: Artifact) -> SafeString:
        return render_to_string("portal/_environment.html", {"environment": artifact.environment})

    @admin.display(description="run")
    def linked_run(self, artifact: Artifact) -> SafeString:
        link = reverse("admin:runs_run_change", args=[artifact.run_id])
        return format_html('<a class="portal-link" href="{}">{}</a>', link, artifact.run)

    @admin.display(description=times.in_zone("created"))
    def created(self, artifact: Artifact) -> SafeString:
        return times.clock_and_age(artifact.created_upstream_at)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"freshness": freshness.freshness_of_all(request, "runs")}
        return super().changelist_view(request, context | (extra_context or {}))

    def get_urls(self) -> list[URLPattern | URLResolver]:
        # Every other page of the portal forbids being framed.
        frame = csp_override(FRAME)(xframe_options_sameorigin(require_safe(self.frame)))
        routes = [path("<int:pk>/frame/", self.admin_site.admin_view(frame), name="runs_artifact_frame")]
        return [*routes, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # Read-only: every change has an address and a service of its own.
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        artifact: Artifact = self.visible_or_404(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": self.titled(artifact),
            "opts": self.opts,
            "original": artifact,
            "run": artifact.run,
            "one": artifact_view.shown(artifact),
            "freshness": freshness.freshness_of([artifact.environment], "runs"),
        }
        return TemplateResponse(request, "portal/artifact/page.html", context | (extra_context or {}))

    def frame(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return HTML from a flow unchanged. The response declares its sandbox itself, as it can be opened directly."""
        artifact: Artifact = self.visible_or_404(request, pk)
        if not artifact_view.is_page(artifact):
            raise Http404
        return HttpResponse(str(artifact.data), headers={"X-Content-Type-Options": "nosniff"})

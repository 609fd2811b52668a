"""Change requests: the list, and the page on which others decide and a backfill is followed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import Count, Model, OuterRef, Q, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from portal import inbox
from portal.admin.actions import perform, reason_of, redirect_back, ticket_of
from portal.admin.base import RestrictedAdmin, attempt
from portal.admin.changes import page
from portal.admin.changes.filters import ConcernFilter, PhaseFilter
from portal.auth.request_user import actor_of, permissions_of
from portal.lists.change_list import KeysetList
from portal.ui import freshness, times
from portal.ui.text import number
from runs import changes, requests
from runs.access.whole_chains import sees_whole_chain
from runs.automation import chain_pacing
from runs.governance import rule_changes
from runs.models import ChainRun, ChangeRequest, RunSpec, Verb
from runs.models.request import State
from runs.phases import WORDS, phase_of, with_phases
from runs.shared_reads import shared_reads

# Each is a transaction of its own, in one web request.
MOST_RETRIED = 50
# Who holds one of these finds the change requests in the menu.
CONCERNED = (Verb.MANAGE, Verb.APPROVE, Verb.RERUN, Verb.TRIGGER)


@admin.register(ChangeRequest)
class ChangeRequestAdmin(RestrictedAdmin):
    list_display = ["numbered", "what", "state_badge", "where", "requested_by_name", "requested", "reason"]
    list_display_links = ["numbered", "what"]
    list_filter = [ConcernFilter, PhaseFilter, "kind"]
    list_select_related = ["rule_change", "environment"]
    search_fields = ["=id", "environment_name", "requested_by_name", "reason", "rule_change__subject_name"]
    search_help_text = "Number, what changes, state, environment, person or reason"
    ordering = ["-pk"]

    sortable_by: list[str] = []

    # A change request for one run is on the page of that run.

    def visible(self, request: HttpRequest, verb: Verb = Verb.SEE) -> Q:
        specs = RunSpec.objects.filter(
            permissions_of(request).q(verb, deployment="deployment__", base="deployment__"),
            change__kind__in=inbox.WITH_OWN_PAGE,
        )
        runs = ~Q(kind=ChangeRequest.Kind.CHAIN) & Q(pk__in=specs.values("change"))
        visible = rule_changes.visible_to(actor_of(request)) | runs | sees_whole_chain(permissions_of(request))
        # Implied by all three, and here in the words of the partial index: without them Postgres reads every request.
        return ~Q(kind=ChangeRequest.Kind.RUN) & visible

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetList]:
        return KeysetList

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        # Those who can approve one or ask for one: what people grant, unfreeze or retry may wait.
        permissions = permissions_of(request)
        return bool(
            request.user.is_active
            and (rule_changes.oversees(actor_of(request)) or any(permissions.can_any(verb) for verb in CONCERNED))
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ChangeRequest]:
        # Of a backfill a title counts the specs: a list must not read a thousand rows for each.
        specs = RunSpec.objects.filter(change=OuterRef("pk")).order_by()
        spec_count = specs.values("change").annotate(specs_there=Count("pk")).values("specs_there")
        name = specs.filter(position=0).values("deployment_name")
        found: QuerySet[ChangeRequest] = super().get_queryset(request)
        chain_name = ChainRun.objects.filter(change=OuterRef("pk")).values("version__chain__name")
        return with_phases(
            found.annotate(spec_count=Subquery(spec_count), spec_name=Subquery(name), chain_name=Subquery(chain_name))
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ChangeRequest], search_term: str
    ) -> tuple[QuerySet[ChangeRequest], bool]:
        found, may_have_duplicates = super().get_search_results(request, queryset, search_term)
        if phase := WORDS.get(search_term.strip().casefold()):
            found = queryset.filter(Q(phase=phase) | Q(pk__in=found.order_by().values("pk")))
        return found, may_have_duplicates

    @admin.display(description="change request")
    def numbered(self, change: ChangeRequest) -> str:
        return f"Change request {change.pk}"

    @admin.display(description="what")
    def what(self, change: ChangeRequest) -> str:
        return page.title_of(change)

    @admin.display(description="state")
    def state_badge(self, change: ChangeRequest) -> SafeString:
        return render_to_string("portal/_state.html", {"row": phase_of(change)})

    @admin.display(description="environment")
    def where(self, change: ChangeRequest) -> str:
        if change.environment is None:
            return change.environment_name
        return render_to_string("portal/_environment.html", {"environment": change.environment})

    @admin.display(description=times.in_zone("requested"))
    def requested(self, change: ChangeRequest) -> SafeString:
        return times.clock_and_age(change.requested_at)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response: HttpResponse = super().changelist_view(request, {"title": "Change requests", **(extra_context or {})})
        return response

    def get_urls(self) -> list[URLPattern | URLResolver]:
        views: dict[str, Callable[..., HttpResponse]] = {
            "approve": require_POST(self.approve),
            "reject": require_POST(self.reject),
            "withdraw": require_POST(self.withdraw),
            "comment": require_POST(self.comment),
            "pause": require_POST(self.pause),
            "resume": require_POST(self.resume),
            "cancel_rest": require_POST(self.cancel_rest),
            "retry_failed": require_POST(self.retry_failed),
            "let_go": require_POST(self.let_go),
            "reject_step": require_POST(self.reject_step),
        }
        own = [
            path(
                f"<int:pk>/{name.replace('_', '-')}/",
                self.admin_site.admin_view(view),
                name=f"runs_changerequest_{name}",
            )
            for name, view in views.items()
        ]
        return [*own, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        rows = self.get_queryset(request).select_related("environment__server__health")
        change: ChangeRequest = self.visible_or_404(request, object_id, rows)
        frame = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Change request {change.pk}",
            "original": change,
        }
        if change.environment:
            frame["freshness"] = [freshness.freshness_of_runs(change.environment)]
        # Who may approve and who may reject depend on the same grants.
        with shared_reads():
            found = page.context(change, actor_of(request), permissions_of(request), request.GET)
        return TemplateResponse(request, "portal/change/page.html", frame | found | (extra_context or {}))

    def approve(self, request: HttpRequest, pk: int) -> HttpResponse:
        # What is approved is what this page displayed; a request that changed meanwhile is refused.
        displayed = request.POST.get("displayed_digest", "")
        service = partial(changes.approve, displayed_digest=displayed)
        return self.call(request, pk, service, page.describe_progress)

    def reject(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.call(request, pk, changes.reject, "Rejected. Nothing was changed or started.")

    def withdraw(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.call(request, pk, changes.withdraw, "Request cancelled. Nothing was changed or started.")

    def pause(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.call(
            request,
            pk,
            self.of_kind(request, pk, changes.pause, chain_pacing.pause),
            "Paused. What was sent to Prefect goes on.",
        )

    def resume(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.call(request, pk, self.of_kind(request, pk, changes.resume, chain_pacing.resume), "Resumed.")

    def cancel_rest(self, request: HttpRequest, pk: int) -> HttpResponse:
        service = self.of_kind(request, pk, changes.cancel_rest, chain_pacing.cancel_rest)
        return self.call(request, pk, service, "The rest was cancelled. What was sent to Prefect goes on.")

    def of_kind(
        self, request: HttpRequest, pk: int, backfill: Callable[..., object], chain: Callable[..., object]
    ) -> Callable[..., object]:
        """Return the service for the kind of change request."""
        change: ChangeRequest = self.visible_or_404(request, pk)
        return chain if change.kind == ChangeRequest.Kind.CHAIN else backfill

    def let_go(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.decide(request, pk, changes.let_go, "The step is being started.")

    def reject_step(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.decide(request, pk, changes.reject_step, "Rejected: the step counts as failed.")

    def decide(self, request: HttpRequest, pk: int, service: Callable[..., object], done: str) -> HttpResponse:
        """Decide about one step of a chain that waits at its gate."""
        change: ChangeRequest = self.visible_or_404(request, pk)
        steps = change.run_requests.select_related("environment", "deployment__environment", "spec", "change")
        run_request = steps.filter(pk=number(request.POST.get("step"), otherwise=0) or 0).first()
        if run_request is None:
            raise Http404
        perform(request, lambda reason: service(run_request, by=actor_of(request), reason=reason), done)
        return redirect_back(request, reverse("admin:runs_changerequest_change", args=[change.pk]))

    def retry_failed(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Retry the failed runs in place, each by itself: one that is refused does not stop the others."""
        change: ChangeRequest = self.visible_or_404(request, pk)
        reason, ticket, by = reason_of(request), ticket_of(request) or change.ticket, actor_of(request)
        failed = change.run_requests.filter(state=State.FAILED, run__isnull=False).select_related(
            "run__environment", "spec"
        )
        for run_request in failed.order_by("spec__position")[:MOST_RETRIED]:
            if run := run_request.run:
                act = partial(requests.retry, run, by=by, reason=reason, ticket=ticket)
                attempt(request, f"Item {run_request.spec.number}", act, "the run will be retried.")
        return redirect_back(request, reverse("admin:runs_changerequest_change", args=[change.pk]))

    def comment(self, request: HttpRequest, pk: int) -> HttpResponse:
        text = request.POST.get("text", "")

        def service(change: ChangeRequest, *, by: Any, reason: str) -> None:
            changes.comment(change, text, by=by)

        return self.call(request, pk, service, "Comment added.")

    def call(
        self,
        request: HttpRequest,
        pk: int,
        service: Callable[..., object],
        done: str | Callable[[ChangeRequest], str],
    ) -> HttpResponse:
        """Call a service that needs only the change request and a reason."""
        change: ChangeRequest = self.visible_or_404(request, pk)
        text = done if isinstance(done, str) else partial(done, change)
        perform(request, lambda reason: service(change, by=actor_of(request), reason=reason), text)
        return redirect_back(request, reverse("admin:runs_changerequest_change", args=[change.pk]))

"""Environments: their rules, the status of their servers, freezes, the calendar and the form of administrators."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import ActionLocation
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from flows.models import Environment, WorkPool
from flows.wording import how_to_deploy
from portal.admin.actions import perform, redirect_back
from portal.admin.base import RestrictedAdmin, attempt
from portal.admin.environments import connection_page
from portal.admin.environments.forms import ABOUT, RETENTION, RULES, SCOPE, SERVER, STALLS, EnvironmentForm
from portal.admin.service_admin import ServiceModelAdmin
from portal.auth.request_user import actor_of, permissions_of
from portal.ui import calendar as ui_calendar
from portal.ui.environment_status import status_of
from portal.ui.times import span
from runs import moments
from runs.access.decisions import Target
from runs.actors import is_administrator
from runs.governance import configuration, freezes
from runs.governance.loosening import loosened
from runs.governance.loosening_gate import environments_of
from runs.governance.requirements import applicable, visible
from runs.governance.windows import Calendar
from runs.models import ChangeRequest, Run, Sweep, Verb, Window
from runs.work_pools import WORK_POOLS

# Pages of Prefect that the portal has no copy of: title -> path below the address of its UI.
PREFECT_PAGES = (
    ("Automations", "automations"),
    ("Variables", "variables"),
    ("Blocks", "blocks"),
    ("Concurrency limits", "concurrency-limits"),
)
# The buttons on an environment's page are the same actions as those of the list.
BOTH = [ActionLocation.CHANGE_LIST, ActionLocation.CHANGE_FORM]


def pools_in(request: HttpRequest, environment: Environment) -> QuerySet[WorkPool]:
    """Return the work pools of an environment that the reader can see."""
    chosen = {"environment": environment.slug}
    return WORK_POOLS.rows(actor_of(request), chosen, permissions=permissions_of(request)).order_by("name")


def rules(environment: Environment) -> list[str]:
    """Return what an environment requires of its users, as sentences."""
    sentences = {
        "Protected: only grants that name this environment apply.": environment.is_protected,
        f"Runs need approval by someone else within {span(environment.approval_minutes * 60)}.": (
            environment.needs_approval
        ),
        "Runs, cancellations and pauses require a reason.": environment.needs_reason,
        f"No approval counts within {span(environment.independence_hours * 3600)} after its approver or requester "
        "created or changed the other.": environment.independence_hours > 0 and environment.needs_approval,
    }
    return [sentence for sentence, applies in sentences.items() if applies] or [
        "No extra rules: anyone with a grant can run and cancel."
    ]


@admin.register(Environment)
class EnvironmentAdmin(ServiceModelAdmin, RestrictedAdmin):
    form = EnvironmentForm
    list_display = ["named", "how", "read", "rules"]
    list_select_related = ["server__health"]
    search_fields = ["slug", "display_name", "description"]
    actions = ["check_connection", "read_now"]
    change_list_template = "portal/environment/list.html"
    change_form_outer_before_template = "portal/environment/_panel.html"
    change_form_before_template = "portal/_loosening_of_admin_form.html"
    change_form_outer_after_template = "portal/_story.html"

    def visible(self, request: HttpRequest, verb: Verb = Verb.SEE) -> Q:
        # Not by `Permissions.q`: an environment is visible to everyone who may see something in it.
        return Q(pk__in=permissions_of(request).environments().values("pk"))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_administrator(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return is_administrator(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return is_administrator(request.user)

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return [
            ("Environment", {"fields": ABOUT}),
            ("Prefect server", {"fields": SERVER}),
            ("Scope", {"fields": SCOPE}),
            ("Rules", {"fields": RULES}),
            ("Stalled runs", {"fields": STALLS}),
            ("Retention", {"fields": RETENTION}),
        ]

    def get_actions(self, request: HttpRequest, action_location: ActionLocation = ActionLocation.CHANGE_LIST) -> Any:
        found = super().get_actions(request, action_location=action_location)
        # Deletion goes through the service of one environment, which refuses it while history refers to it.
        found.pop("delete_selected", None)
        return found

    @admin.display(description="name", ordering="position")
    def named(self, environment: Environment) -> SafeString:
        return render_to_string("portal/_environment.html", {"environment": environment})

    @admin.display(description="health")
    def how(self, environment: Environment) -> SafeString:
        return render_to_string("portal/environment/_health.html", {"status": status_of(environment)})

    @admin.display(description="last synced")
    def read(self, environment: Environment) -> SafeString:
        return render_to_string("portal/environment/_read.html", {"status": status_of(environment)})

    @admin.display(description="rules")
    def rules(self, environment: Environment) -> str:
        rules = {
            "protected": environment.is_protected,
            "approval required": environment.needs_approval,
            "reason required": environment.needs_reason,
        }
        return ", ".join(rule for rule, applies in rules.items() if applies) or "none"

    @admin.action(description="Test connection", permissions=["change"], location=BOTH)
    def check_connection(self, request: HttpRequest, queryset: QuerySet[Environment]) -> None:
        for environment in queryset:
            configuration.check_environment(environment, by=actor_of(request))
        messages.info(request, "Connection test started. The result is in the health of the environment.")

    @admin.action(description="Sync deployments and runs now", permissions=["change"], location=BOTH)
    def read_now(self, request: HttpRequest, queryset: QuerySet[Environment]) -> None:
        done = "Syncing deployments and runs. The result appears in a few seconds."
        for environment in queryset:
            sync = partial(configuration.sync_environment, environment, by=actor_of(request))
            attempt(request, environment, sync, done)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Environment]:
        return super().get_queryset(request).select_related("server__health")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # 1. The panel above the form, which every reader of the environment sees.
        environment = self.visible_or_404(request, object_id)
        may_change = self.has_change_permission(request)
        context = {
            **self.freeze_context(request, environment),
            "status": status_of(environment),
            "pools": pools_in(request, environment),
            "prefect_pages": PREFECT_PAGES,
            "empty": self.why_empty(request, environment),
            **self.retention_context(request, environment),
            "may_change": may_change,
            "action_field": ACTION_CHECKBOX_NAME,
            "show_save_and_add_another": False,
        }
        # 2. Others get a page without the form: read-only, Django's form would still list the server's address.
        if not may_change:
            return self.page(request, environment, context)
        # 3. Administrators get Django's form below the panel.
        response: HttpResponse = super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})
        return response

    def why_empty(self, request: HttpRequest, environment: Environment) -> str:
        """Return how to deploy, where no deployment is visible."""
        deployments = permissions_of(request).deployments()
        is_empty = not deployments.filter(environment=environment, deleted_upstream_at=None).exists()
        return how_to_deploy(environment) if is_empty and environment.is_active else ""

    def retention_context(self, request: HttpRequest, environment: Environment) -> dict[str, Any]:
        """Return what was deleted here, and the oldest run that the reader can see."""
        seen = permissions_of(request).q(Verb.SEE, deployment="access_deployment__")
        return {
            "sweep": Sweep.objects.filter(environment=environment).first(),
            "oldest_run": Run.objects.filter(seen, environment=environment).order_by("sort_at", "pk").first(),
        }

    def freeze_context(self, request: HttpRequest, environment: Environment) -> dict[str, Any]:
        """Return the active freeze, and whether the reader may freeze and unfreeze."""
        freeze = freezes.freeze_of(environment)
        return {
            "freeze": freeze,
            "loosens": environments_of(loosened(freeze, None)) if freeze else [],
            "may_freeze": permissions_of(request).decide(Verb.MANAGE, Target.whole(environment)).allowed,
            "time_zone": timezone.get_current_timezone_name(),
        }

    def get_urls(self) -> list[URLPattern | URLResolver]:
        views: dict[str, Callable[..., HttpResponse]] = {
            "freeze": require_POST(self.freeze),
            "unfreeze": require_POST(self.unfreeze),
            "calendar": self.calendar,
        }
        own = [
            path(f"<int:pk>/{name}/", self.admin_site.admin_view(view), name=f"flows_environment_{name}")
            for name, view in views.items()
        ]
        return [*own, *connection_page.addresses(self.admin_site), *super().get_urls()]

    def freeze(self, request: HttpRequest, pk: int) -> HttpResponse:
        environment = self.visible_or_404(request, pk)

        def act(reason: str) -> None:
            until = moments.read(request.POST.get("until", ""))
            ticket = request.POST.get("ticket", "")
            freezes.freeze(environment, by=actor_of(request), reason=reason, ticket=ticket, until=until)

        perform(request, act, f"{environment} is frozen. Runs are held.")
        return redirect_back(request, reverse("admin:flows_environment_change", args=[pk]))

    def unfreeze(self, request: HttpRequest, pk: int) -> HttpResponse:
        environment = self.visible_or_404(request, pk)

        def act(reason: str) -> ChangeRequest | None:
            ticket, confirm = request.POST.get("ticket", ""), request.POST.get("confirm", "")
            return freezes.unfreeze(environment, by=actor_of(request), reason=reason, ticket=ticket, confirm=confirm)

        perform(request, act, f"{environment} is unfrozen. Held runs start now.")
        return redirect_back(request, reverse("admin:flows_environment_change", args=[pk]))

    def calendar(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show when runs may start in an environment, and which rules apply to which deployments."""
        environment = self.visible_or_404(request, pk)
        permissions, now = permissions_of(request), timezone.now()
        rows = visible(
            Window.objects.filter(applicable(environment), is_active=True).select_related("environment"), permissions
        )
        # The first lane applies all windows of the environment, the list only those that the reader may see.
        whole = Calendar.of(Target.whole(environment))
        context = {
            **self.admin_site.each_context(request),
            **self.freeze_context(request, environment),
            "title": f"Calendar of {environment}",
            "opts": self.opts,
            "original": environment,
            "standing": whole.at(now),
            "windows": [(row, *ui_calendar.now_of(row, now)) for row in rows],
            "picture": ui_calendar.picture_of_environment(environment, whole, rows, now),
            "rules": ui_calendar.applicable_rules_of(environment, permissions, now),
        }
        return TemplateResponse(request, "portal/environment/calendar.html", context)

    def page(self, request: HttpRequest, environment: Environment, context: dict[str, Any]) -> HttpResponse:
        """Render the page without the form, for readers who may not change the environment."""
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied("Only administrators can change environments.")
        frame = {
            **self.admin_site.each_context(request),
            "title": environment.label,
            "opts": self.opts,
            "original": environment,
            "rules": rules(environment),
        }
        return TemplateResponse(request, "portal/environment/page.html", frame | context)

    def save_row(self, request: HttpRequest, row: Environment, form: Any) -> ChangeRequest | None:
        return configuration.save_environment(row, by=actor_of(request), **form.confirmation)

    def response_post_save_add(self, request: HttpRequest, obj: Environment) -> HttpResponseRedirect:
        return HttpResponseRedirect(reverse("admin:flows_environment_change", args=[obj.pk]))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Confirm on GET and delete on POST, unless history refers to the environment."""
        environment = self.visible_or_404(request, object_id)
        if not self.has_delete_permission(request, environment):
            raise PermissionDenied("Only administrators can delete environments.")
        page = HttpResponseRedirect(reverse("admin:flows_environment_change", args=[environment.pk]))
        if request.method != "POST":
            # Asked before the confirmation page, where Django would list every related row instead.
            if why_not := configuration.why_not_delete(environment):
                messages.warning(request, why_not, extra_tags="environment.in_use")
                return page
            response: HttpResponse = super().delete_view(request, object_id, extra_context)
            return response

        def delete() -> None:
            configuration.delete_environment(environment, by=actor_of(request))

        if attempt(request, environment, delete, "deleted."):
            return HttpResponseRedirect(reverse("admin:flows_environment_changelist"))
        return page

"""Event rules: the list, a new one, their pages with dry run and log, and the log of all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Max, Model, Q, QuerySet
from django.forms import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.admin import double_submit
from portal.admin.actions import perform, redirect_back
from portal.admin.base import RestrictedAdmin
from portal.admin.event_rules import page
from portal.admin.event_rules.filters import OutcomeFilter, RuleFilter
from portal.admin.event_rules.forms import ONLY_FOR, NewRuleForm, RuleForm
from portal.admin.renewal_filter import RuleRenewalFilter
from portal.auth.request_user import actor_of
from portal.ui import event_rule_labels, times
from runs.automation import event_rules
from runs.errors import Refused
from runs.models import EventRule, RuleFiring

Outcome = RuleFiring.Outcome


@admin.register(EventRule)
class EventRuleAdmin(RestrictedAdmin):
    list_display = ["named", "when", "deployment_shown", "owner", "last_request", "state", "ends"]
    list_filter = [RuleRenewalFilter]
    list_before_template = "portal/event_rule/_tools.html"
    search_fields = ["name", "key", "deployment__full_name", "owner__username"]
    search_help_text = "Name, key, deployment or owner"
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[EventRule]:
        requested = Max("firings__decided_at", filter=Q(firings__outcome=Outcome.REQUESTED))
        return event_rules.visible_to(actor_of(request)).annotate(last_requested_at=requested)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let every active user in: who has no rule finds an empty list."""
        return bool(request.user.is_active)

    # The list

    @admin.display(description="name", ordering="name")
    def named(self, rule: EventRule) -> SafeString:
        return render_to_string("portal/event_rule/_name.html", {"rule": rule})

    @admin.display(description="when")
    def when(self, rule: EventRule) -> str:
        return event_rule_labels.when(rule)

    @admin.display(description="runs", ordering="deployment__full_name")
    def deployment_shown(self, rule: EventRule) -> SafeString:
        return render_to_string("portal/event_rule/_deployment.html", {"rule": rule})

    @admin.display(description="last request", ordering="last_requested_at")
    def last_request(self, rule: Any) -> SafeString | str:
        return times.relative_time(rule.last_requested_at) if rule.last_requested_at else "never"

    @admin.display(description="state")
    def state(self, rule: EventRule) -> SafeString:
        return render_to_string("portal/_state.html", {"row": event_rule_labels.state_badge(rule)})

    @admin.display(description="ends", ordering="valid_until")
    def ends(self, rule: EventRule) -> str:
        return times.day(rule.valid_until)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        forms = require_http_methods(["GET", "HEAD", "POST"])
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "new": ("new/", forms(self.new)),
            "edit": ("<int:pk>/edit/", forms(self.edit)),
            "pause": ("<int:pk>/pause/", require_POST(self.pause)),
            "resume": ("<int:pk>/resume/", require_POST(self.resume)),
            "remove": ("<int:pk>/remove/", require_POST(self.remove)),
            "dry_run": ("<int:pk>/dry-run/", require_safe(self.dry_run)),
        }
        own = [
            path(route, self.admin_site.admin_view(view), name=f"runs_eventrule_{name}")
            for name, (route, view) in views.items()
        ]
        return [*own, *super().get_urls()]

    # A new one

    def new(self, request: HttpRequest) -> HttpResponse:
        """Show the form; on POST say what the rule would have done, or create it."""
        form = NewRuleForm(actor_of(request), request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            if "dry_run" in request.POST:
                return self.try_out(request, form, None)
            if rule := self.create(request, form):
                messages.success(request, f"Event rule {rule.name} created.")
                return HttpResponseRedirect(page_of(rule))
        return self.show_form(request, form, None)

    def create(self, request: HttpRequest, form: NewRuleForm) -> EventRule | None:
        """Create the rule; None if it is refused, which the form then shows."""
        with transaction.atomic():
            # A second click waits here, and then finds the rule of the first.
            User.objects.select_for_update(no_key=True).get(pk=actor_of(request).user.pk)
            if form.is_repeated():
                message = (
                    "A rule of this name was created after this page was opened, so the form was probably sent twice. "
                    "Submit it once more to create another one."
                )
                form.add_error("name", ValidationError(message, "event_rule.repeated"))
                return None
            arguments = form.arguments()
            values = form.cleaned_data
            try:
                return event_rules.create(
                    arguments.pop("name"),
                    trigger=values["trigger"],
                    deployment=values["deployment"],
                    by=actor_of(request),
                    **arguments,
                )
            except Refused as refusal:
                form.refuse(refusal)
                return None

    def try_out(self, request: HttpRequest, form: RuleForm, rule: EventRule | None) -> HttpResponse:
        """Show the form again, with what the rule that it describes would have done. Nothing is stored."""
        try:
            return self.show_form(request, form, rule, page.dry_run_context(form.draft()))
        except Refused as refusal:
            form.refuse(refusal)
            return self.show_form(request, form, rule)

    def show_form(
        self, request: HttpRequest, form: RuleForm, rule: EventRule | None, more: dict[str, Any] | None = None
    ) -> HttpResponse:
        only = [(form[name], " ".join(triggers)) for name, triggers in ONLY_FOR.items() if name in form.fields]
        context = {
            **self.admin_site.each_context(request),
            "title": f"Change {rule.name}" if rule else "New event rule",
            "opts": self.opts,
            "original": rule,
            "form": form,
            "when": event_rule_labels.when(rule) if rule else "",
            "only": only,
            # Read now, also after a refusal: what is sent again then is meant.
            "newest_rule": double_submit.newest(EventRule.objects.all()),
            **(more or {}),
        }
        return render(request, "portal/event_rule/form.html", context)

    # Its page

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        rule: EventRule = self.visible_or_404(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": rule.name,
            "opts": self.opts,
            "original": rule,
            **page.context(request, rule),
        }
        return TemplateResponse(request, "portal/event_rule/page.html", context | (extra_context or {}))

    def edit(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the form of an existing rule; on POST say what it would have done, or save it."""
        rule = self.own_or_forbidden(request, pk)
        form = RuleForm(actor_of(request), request.POST if request.method == "POST" else None, rule=rule)
        if request.method == "POST" and form.is_valid():
            if "dry_run" in request.POST:
                return self.try_out(request, form, rule)
            try:
                event_rules.change(rule, by=actor_of(request), **form.arguments())
            except Refused as refusal:
                form.refuse(refusal)
            else:
                messages.success(request, f"Event rule {form.cleaned_data['name']} saved.")
                return HttpResponseRedirect(page_of(rule))
        return self.show_form(request, form, rule)

    def dry_run(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show what the rule would have done with the events of the last day. Only the owner sees their values."""
        rule = self.own_or_forbidden(request, pk)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Dry run of {rule.name}",
            "opts": self.opts,
            "original": rule,
            "rule": rule,
            "when": event_rule_labels.when(rule),
            **page.dry_run_context(rule),
        }
        return render(request, "portal/event_rule/dry_run.html", context)

    def own_or_forbidden(self, request: HttpRequest, pk: int) -> EventRule:
        rule: EventRule = self.visible_or_404(request, pk)
        if not actor_of(request).is_same_person_as(rule.owner_id):
            raise PermissionDenied("Only its owner can change or try out an event rule.")
        return rule

    def pause(self, request: HttpRequest, pk: int) -> HttpResponse:
        rule: EventRule = self.visible_or_404(request, pk)
        perform(
            request,
            lambda reason: event_rules.pause(rule, by=actor_of(request), reason=reason),
            f"Event rule {rule.name} paused.",
        )
        return redirect_back(request, page_of(rule))

    def resume(self, request: HttpRequest, pk: int) -> HttpResponse:
        rule: EventRule = self.visible_or_404(request, pk)
        perform(
            request,
            lambda reason: event_rules.resume(rule, by=actor_of(request), reason=reason),
            f"Event rule {rule.name} resumed.",
        )
        return redirect_back(request, page_of(rule))

    def remove(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Delete a rule; what it requested and its log stay."""
        rule: EventRule = self.visible_or_404(request, pk)
        perform(
            request,
            lambda reason: event_rules.delete(rule, by=actor_of(request), reason=reason),
            f"Event rule {rule.name} deleted.",
        )
        return redirect_back(request, reverse("admin:runs_eventrule_changelist"))


@admin.register(RuleFiring)
class RuleFiringAdmin(RestrictedAdmin):
    """What events did with rules: those that the reader sees."""

    list_display = ["seen", "rule_shown", "outcome_shown", "why", "source_shown", "number"]
    list_display_links = None
    list_filter = [OutcomeFilter, RuleFilter]
    ordering = ["-pk"]
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[RuleFiring]:
        visible = event_rules.including_deleted(actor_of(request)).order_by().values("pk")
        return RuleFiring.objects.filter(rule__in=visible).select_related("rule", "run_request")

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(request.user.is_active)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Raise `Http404`: a row has no page, what there is to say of it is in the list."""
        raise Http404

    @admin.display(description="seen", ordering="pk")
    def seen(self, firing: RuleFiring) -> SafeString:
        return times.relative_time(firing.matched_at)

    @admin.display(description="rule")
    def rule_shown(self, firing: RuleFiring) -> SafeString:
        return render_to_string("portal/event_rule/_link.html", {"rule": firing.rule})

    @admin.display(description="outcome")
    def outcome_shown(self, firing: RuleFiring) -> SafeString:
        return render_to_string("portal/_state.html", {"row": event_rule_labels.outcome_badge(firing)})

    @admin.display(description="what it did, or why not")
    def why(self, firing: RuleFiring) -> SafeString:
        return render_to_string("portal/event_rule/_why.html", {"firing": firing})

    @admin.display(description="what happened")
    def source_shown(self, firing: RuleFiring) -> SafeString:
        return render_to_string("portal/event_rule/_source.html", {"firing": firing})

    @admin.display(description="events")
    def number(self, firing: RuleFiring) -> int:
        return firing.events


def page_of(rule: EventRule) -> str:
    return reverse("admin:runs_eventrule_change", args=[rule.pk])

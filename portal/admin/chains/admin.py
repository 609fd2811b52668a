"""Chains: the list, their pages, and the forms that save a version or request a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods, require_POST

from flows.models import Environment
from portal.admin.actions import perform, redirect_back
from portal.admin.base import RestrictedAdmin
from portal.admin.chains import page, run_page, step_text
from portal.admin.chains.forms import ChainForm, Steps, deployments_in, profiles_in
from portal.admin.filters import EnvironmentFilter
from portal.admin.renewal_filter import ChainRenewalFilter
from portal.auth.request_user import actor_of, permissions_of
from portal.ui import chain_labels, times
from portal.ui.text import number
from runs.access.decisions import Forbidden
from runs.automation import chains
from runs.automation.chain_listings import CHAINS
from runs.errors import Refused
from runs.models import Chain, Verb

# Code of a refusal -> the field of the form that it is about; others are about a step, or about all of it.
FIELDS = {"chain.name": "name", "chain.taken": "name", "automation.valid_until": "valid_until"}


@admin.register(Chain)
class ChainAdmin(RestrictedAdmin):
    list_display = ["named", "where", "steps_shown", "number", "state", "owner", "ends", "last_run"]
    list_filter = [EnvironmentFilter, ChainRenewalFilter]
    list_before_template = "portal/chain/_tools.html"
    search_fields = ["name", "description"]
    search_help_text = "Name or description"
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Chain]:
        return CHAINS.rows(actor_of(request), permissions=permissions_of(request))

    @admin.display(description="name", ordering="name")
    def named(self, chain: Chain) -> SafeString:
        return render_to_string("portal/chain/_name.html", {"chain": chain})

    @admin.display(description="environment", ordering="environment__slug")
    def where(self, chain: Chain) -> SafeString:
        return render_to_string("portal/_environment.html", {"environment": chain.environment})

    @admin.display(description="steps")
    def steps_shown(self, chain: Any) -> int:
        return int(chain.step_count)

    @admin.display(description="state")
    def state(self, chain: Chain) -> SafeString:
        return render_to_string("portal/_state.html", {"row": chain_labels.state_badge(chain)})

    @admin.display(description="ends", ordering="valid_until")
    def ends(self, chain: Chain) -> str:
        return times.day(chain.valid_until)

    @admin.display(description="last requested")
    def last_run(self, chain: Any) -> SafeString | str:
        return times.relative_time(chain.last_requested_at) if chain.last_requested_at else "never"

    def get_urls(self) -> list[URLPattern | URLResolver]:
        forms = require_http_methods(["GET", "HEAD", "POST"])
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "new": ("new/", forms(self.new)),
            "edit": ("<int:pk>/edit/", forms(self.edit)),
            "run": ("<int:pk>/run/", forms(self.run)),
            "enable": ("<int:pk>/enable/", require_POST(self.enable)),
            "disable": ("<int:pk>/disable/", require_POST(self.disable)),
        }
        own = [
            path(route, self.admin_site.admin_view(view), name=f"runs_chain_{name}")
            for name, (route, view) in views.items()
        ]
        return [*own, *super().get_urls()]

    def frame(self, request: HttpRequest, chain: Chain | None = None) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "opts": self.opts, "original": chain}

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        chain: Chain = self.visible_or_404(request, object_id)
        context = {**self.frame(request, chain), "title": chain.name, **page.context(request, chain)}
        return TemplateResponse(request, "portal/chain/page.html", context | (extra_context or {}))

    # Define

    def new(self, request: HttpRequest) -> HttpResponse:
        """Ask for the environment, then for the steps."""
        if request.method == "POST":
            environment = self.visible_environment(request, request.POST.get("environment"))
            try:
                chains.require_may_define(environment, by=actor_of(request))
            except Forbidden as forbidden:
                raise PermissionDenied(str(forbidden)) from forbidden
            return self.define(request, environment, None)
        places = self.environments(request)
        if not places:
            raise PermissionDenied("You cannot run a deployment in any environment, so you cannot define a chain.")
        chosen = next((each for each in places if str(each.pk) == request.GET.get("environment")), None)
        if chosen is None:
            context = {**self.frame(request), "title": "New chain", "environments": places}
            return render(request, "portal/chain/environment.html", context)
        return self.define(request, chosen, None)

    def visible_environment(self, request: HttpRequest, pk: str | None) -> Environment:
        found = permissions_of(request).environments().filter(pk=number(pk, otherwise=0) or 0).first()
        if found is None:
            raise Http404
        return found

    def environments(self, request: HttpRequest) -> list[Environment]:
        permissions = permissions_of(request)
        there = permissions.deployments(Verb.TRIGGER).filter(deleted_upstream_at=None).values("environment")
        return list(permissions.environments().filter(pk__in=there, is_active=True).order_by("position", "slug"))

    def edit(self, request: HttpRequest, pk: int) -> HttpResponse:
        chain: Chain = self.visible_or_404(request, pk)
        if request.method != "POST" and not page.may_change(permissions_of(request), chains.current_steps(chain)):
            raise PermissionDenied(
                "Only people who can run all its deployments, and view their parameters, can change it."
            )
        return self.define(request, chain.environment, chain)

    def define(self, request: HttpRequest, environment: Environment, chain: Chain | None) -> HttpResponse:
        """Show the form; on POST save a version."""
        stored = chain.versions.get(number=chain.number).definition if chain else {"inputs": {}, "steps": []}
        data = request.POST if request.method == "POST" else None
        form = ChainForm(data, initial=initial_of(chain, stored), use_required_attribute=False)
        profiles = profiles_in(environment, actor_of(request))
        steps = Steps(deployments_in(environment, permissions_of(request)), profiles, stored["steps"], data)
        if data is not None and "more" not in data and all([form.is_valid(), steps.is_valid()]):
            values = form.cleaned_data
            definition = values["document"] or definition_of(steps, values["defaults"], stored)
            try:
                version = chains.save(
                    environment,
                    values["name"],
                    definition,
                    by=actor_of(request),
                    chain=chain,
                    description=values["description"],
                    valid_until=values["valid_until"],
                )
            except Forbidden as forbidden:
                raise PermissionDenied(str(forbidden)) from forbidden
            except Refused as refusal:
                if values["document"] or refusal.code in FIELDS or not steps.refuse(refusal):
                    field = "document" if values["document"] else None
                    form.add_error(FIELDS.get(refusal.code, field), refusal.message)
            else:
                messages.success(request, f"Version {version.number} of {version.chain.name} saved.")
                return HttpResponseRedirect(page.address(version.chain))
        context = {
            **self.frame(request, chain),
            "title": f"Change {chain.name}" if chain else "New chain",
            "form": form,
            "steps": steps,
            "profiles": profiles,
            "environment": environment,
        }
        return render(request, "portal/chain/form.html", context)

    def enable(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.switch(request, pk, True)

    def disable(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.switch(request, pk, False)

    def switch(self, request: HttpRequest, pk: int, is_enabled: bool) -> HttpResponse:
        chain: Chain = self.visible_or_404(request, pk)
        perform(
            request,
            lambda reason: chains.set_enabled(chain, is_enabled, by=actor_of(request), reason=reason),
            f"{chain.name} {'enabled' if is_enabled else 'disabled'}.",
        )
        return redirect_back(request, page.address(chain))

    # Run

    def run(self, request: HttpRequest, pk: int) -> HttpResponse:
        chain: Chain = self.visible_or_404(request, pk)
        if request.method != "POST" and not page.may_run(permissions_of(request), chains.current_steps(chain)):
            raise PermissionDenied("Only people who can run all its deployments can run a chain.")
        return run_page.view(request, chain, self.frame(request, chain))


def initial_of(chain: Chain | None, stored: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {name: {"value": about["default"]} for name, about in stored["inputs"].items() if "default" in about}
    return {
        "name": chain.name if chain else "",
        "description": chain.description if chain else "",
        "valid_until": chain.valid_until if chain else None,
        "defaults": step_text.write_parameters(defaults),
    }


def definition_of(steps: Steps, defaults: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the definition that was entered; descriptions of inputs, which the form does not show, are kept."""
    found = steps.definitions
    used = {name for step in found for source in step["parameters"].values() if (name := input_of(source))}
    inputs = {
        name: {key: value for key, value in about.items() if key != "default"}
        for name, about in stored["inputs"].items()
        if name in used
    }
    for name, value in defaults.items():
        inputs.setdefault(name, {})["default"] = value
    return {"inputs": inputs, "steps": found}


def input_of(source: Mapping[str, Any]) -> str:
    """Return the input that a parameter has its value, or the values over which the step runs, from."""
    over = source.get("over")
    named = over if isinstance(over, dict) else source
    return str(named.get("input", ""))

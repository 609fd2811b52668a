"""The form that requests a run of a chain: its inputs, and the options of the request."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from flows.parameters import Invalid, ParameterForm
from portal.admin.chains.forms import ChainRunForm
from portal.admin.chains.page import address, graph_of
from portal.admin.run_form.page import key_of
from portal.auth.request_user import actor_of
from portal.ui import rule_labels
from portal.ui.text import number
from runs.access.decisions import Forbidden, Target
from runs.automation import chain_definition, chains
from runs.automation.chain_checks import deployments_of
from runs.automation.chain_inputs import input_schema
from runs.errors import Refused
from runs.governance.requirements import requirements_for
from runs.models import Chain


def view(request: HttpRequest, chain: Chain, frame: dict[str, Any]) -> HttpResponse:
    """Show the form; on POST submit the request."""
    definition = chain_definition.read(chain.versions.get(number=chain.number).definition)
    try:
        by_key = deployments_of(definition, chain.environment)
    except Refused as refusal:
        messages.warning(request, refusal.message, extra_tags=refusal.code)
        return HttpResponseRedirect(address(chain))
    schema, defaults = input_schema(definition, by_key)
    rules = requirements_for(*[Target.of(each) for each in {each.pk: each for each in by_key.values()}.values()])
    data = request.POST if request.method == "POST" else None
    inputs = ParameterForm(schema, defaults, data)
    options = ChainRunForm(rules, chain.name, data)
    problem: Refused | Invalid | None = None
    # Both, so that all errors show at once.
    if data is not None and all([options.is_valid(), inputs.is_valid()]) and not inputs.is_partial:
        values = options.cleaned_data
        try:
            change = chains.request_run(
                chain,
                inputs.values,
                by=actor_of(request),
                displayed_version=number(request.POST.get("version"), otherwise=0),
                reason=values["reason"],
                ticket=values["ticket"],
                on_behalf_of=values["on_behalf_of"],
                submission_key=key_of(request, "submission_key"),
            )
        except Forbidden as forbidden:
            raise PermissionDenied(str(forbidden)) from forbidden
        except (Refused, Invalid) as error:
            problem = error
        else:
            return HttpResponseRedirect(reverse("admin:runs_changerequest_change", args=[change.pk]))
    context = {
        **frame,
        "title": f"Run {chain.name}",
        "chain": chain,
        "inputs": inputs,
        "has_inputs": bool(definition.inputs),
        "options": options,
        "rules": rules,
        "approvals": rule_labels.approvals_label(rules.stages) if rules.stages else "",
        "risk": rule_labels.risk_badge(rules.risk),
        "graph": graph_of(chain, definition),
        "steps": len(definition.steps),
        "submission_key": key_of(request, "submission_key") or uuid.uuid4() if problem is None else uuid.uuid4(),
        "refusal": problem,
        "refusal_code": problem.code if isinstance(problem, Refused) else "parameters.invalid",
    }
    return render(request, "portal/chain/run.html", context)

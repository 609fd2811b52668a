"""What a grant that is being typed applies to and says: shown while it is typed, and checked when it is sent."""

from __future__ import annotations

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest

from portal.admin import matches
from portal.admin.access.forms import GrantForm
from portal.admin.access.rules_field import input_names, typed_rules
from portal.ui import grant_labels
from runs.access import condition_rules, matching
from runs.access.predicates import Predicate
from runs.governance.loosening import loosened
from runs.models import Grant

RULES = "rules"
WATCHED = [*matches.WATCHED, "effect", *input_names(RULES)]


def check(request: HttpRequest, form: GrantForm) -> dict[str, Any]:
    """Complete the checks of a form that was sent; return the context of what it matches."""
    form.is_valid()
    grant = form.preview()
    context = matches.context_of(request, grant)
    form.read_rules(context["found"].types)
    context["warnings"] += warnings(context["found"], form.cleaned_data.get("predicate"))
    # A warning that the page has shown does not hold anything up.
    if form.is_valid() and context["warnings"] and not request.POST.get("warned"):
        sentence = "Check the warning below. Create the grant again to keep it as it is."
        form.add_error(None, ValidationError(sentence, "grant.unmatched"))
    if form.is_valid():
        form.require_confirmed(loosened(None, grant))
    return context


def typed_context(request: HttpRequest) -> dict[str, Any]:
    """Return the context of `portal/grant/_typed.html` for what is typed so far."""
    grant = matches.typed_selector(Grant, request.GET, request)
    is_deny = request.GET.get("effect") == Grant.Effect.DENY
    grant.effect = Grant.Effect.DENY if is_deny else Grant.Effect.ALLOW
    context = matches.context_of(request, grant)
    grant.predicate, problems = condition_rules.to_condition(typed_rules(request.GET, RULES), context["found"].types)
    context["warnings"] += warnings(context["found"], grant.predicate)
    return context | {
        "condition": grant_labels.condition(grant),
        "condition_json": json.dumps(grant.predicate, indent=2, ensure_ascii=False) if grant.predicate else "",
        "rule_problems": [str(each) for each in problems],
    }


def warnings(found: matching.Matches, predicate: Predicate | None) -> list[str]:
    unknown = matching.unknown_parameters(found, predicate)
    return (
        [f"No matching deployment has a parameter {grant_labels.join(unknown)} that is not secret."] if unknown else []
    )

"""Marks the prefilled values of a run form that could not be submitted, before anyone submits it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flows import parameters as schemas
from flows.parameters import Invalid, ParameterError, ParameterForm
from flows.parameters.earlier_values import cut
from portal.admin.run_form.context import RunFormContext
from portal.auth.request_user import permissions_of
from portal.ui.text import json_text
from runs import requests
from runs.models import Verb
from runs.requests import presets

CODE = "access.values"
NOT_GRANTED = "Your grants do not allow this value. Choose another one."


def mark(form: RunFormContext, shown: ParameterForm, values: Mapping[str, Any]) -> None:
    """Show an error beside each value of a preset, a link or an earlier run that does not fit here any more.

    Only a help: `requests.submit` decides about the values that are sent.
    """
    given = {name: value for name, value in values.items() if form.offer.initial.get(name) is not value}
    if not given:
        return
    # Names that the deployment does not have are notices of the form.
    found = [each for each in presets.errors_of(form.deployment, given) if each.code != "parameter.unknown"]
    found += not_granted(form, given, known={each.path[0] for each in found if each.path})
    found += requests.offer_errors(form.deployment, given) if not found else []
    masked = schemas.mask(form.deployment.parameter_schema, given)
    shown.add_errors(with_value(each, masked) for each in found)


def with_value(error: ParameterError, given: Mapping[str, Any]) -> ParameterError:
    """Name the value that a select does not offer: the field would only say that it has another one."""
    if error.code != "parameter.enum" or len(error.path) != 1:
        return error
    value = cut(json_text(given[str(error.path[0])]))
    return ParameterError(error.path, error.code, f"“{value}” is not possible. {error.message}")


def not_granted(form: RunFormContext, given: Mapping[str, Any], known: set[str | int]) -> list[ParameterError]:
    """Return an error for each value that the grants do not allow, or one for all where it is their combination."""
    deployment = form.deployment
    narrowed = presets.errors_of(deployment, given, form.offer.schema)
    found = {each.path[0] for each in narrowed if each.path and each.code != "parameter.unknown"} - known
    if found or known:
        return [ParameterError((name,), CODE, NOT_GRANTED) for name in sorted(map(str, found))]
    try:
        resolved = schemas.validate(deployment.parameter_schema, given, defaults=deployment.parameter_defaults)
    except Invalid:
        # Something is missing: the service reports it when the form is submitted.
        return []
    permissions = permissions_of(form.request)
    verbs = (Verb.TRIGGER, Verb.TRIGGER_LATER, *((Verb.RERUN,) if form.rerun_of else ()))
    decisions = [permissions.decide(verb, deployment, resolved) for verb in verbs]
    refused = next((each for each in decisions if each.code in (CODE, "access.denied")), None)
    if any(decisions) or refused is None:
        return []
    return [ParameterError((), refused.code, refused.sentence)]

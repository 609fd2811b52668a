"""What the form that asks for a run knows: the rules, the reader's own limits, and what is filled in already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from flows.models import Deployment, WorkPool
from flows.parameters import ParameterForm
from flows.parameters.references import from_texts
from portal.admin.deployments.list import Workforce
from portal.admin.run_form import allowed_values, rerun
from portal.admin.run_form.draft import Draft
from portal.admin.run_form.forms import LATER, NOW, RunOptionsForm
from portal.auth.request_user import permissions_of
from portal.ui import freshness, rule_labels, times
from runs import artifact_facts
from runs.access.decisions import Target
from runs.governance import requirements, windows
from runs.models import RunRequest, Verb

# Query parameters of a shared link: p.month=2026-01 fills the parameter "month".
LINK_PREFIX = "p."
Parameters = ParameterForm | None
Prefilled = tuple[RunOptionsForm, Parameters]


@dataclass(frozen=True, slots=True)
class RunFormContext:
    """One look at the form or one sending of it. `earlier` is the request that is asked for again."""

    request: HttpRequest
    deployment: Deployment
    frame: dict[str, Any]
    rules: requirements.Requirements
    standing: windows.Standing
    offer: allowed_values.AllowedValues
    earlier: rerun.PreviousRequest | None = None

    @property
    def flow(self) -> str:
        return self.deployment.flow_name

    @property
    def may_override(self) -> bool:
        return permissions_of(self.request).decide(Verb.OVERRIDE_FREEZE, self.deployment).allowed

    @property
    def is_blind(self) -> bool:
        """Whether it repeats what its requester may not see."""
        return self.earlier is not None and not self.earlier.may_be_seen

    @property
    def rerun_of(self) -> RunRequest | None:
        return self.earlier.run_request if self.earlier else None

    def options_form(self, data: Any = None, initial: Any = None) -> RunOptionsForm:
        permissions = permissions_of(self.request)
        verbs = {NOW: Verb.RERUN if self.rerun_of else Verb.TRIGGER, LATER: Verb.TRIGGER_LATER}
        may = {start: bool(permissions.decide(verb, self.deployment)) for start, verb in verbs.items()}
        may[NOW] = may[NOW] or bool(permissions.decide(Verb.TRIGGER, self.deployment))
        starts = [start for start, allowed in may.items() if allowed]
        return RunOptionsForm(self.rules, starts, data, initial, offers_override=self.may_override)

    def parameter_form(self, initial: dict[str, Any], data: Any = None, *, is_whole: bool = False) -> Parameters:
        """What was shown decides what an untouched field means, so `initial` is the same at both times.

        `is_whole` lets values in that only the reader's grants leave out.
        """
        if self.is_blind:
            return None
        schema = self.deployment.parameter_schema if is_whole else self.offer.schema
        defaults, offers = (
            self.deployment.parameter_defaults,
            artifact_facts.offers(self.deployment.environment, self.flow),
        )
        return ParameterForm(schema, defaults, data=data, initial=initial, suggestions=offers)

    def form_from(self, draft: Draft) -> Prefilled:
        """The form as somebody filled it in before they were asked to confirm it."""
        planned = draft.scheduled_for
        given = {
            "start": LATER if planned else NOW,
            "scheduled_for": planned and timezone.localtime(planned).strftime("%Y-%m-%dT%H:%M"),
            "run_name": draft.run_name,
            "tags": ", ".join(draft.tags),
            "reason": draft.reason,
            "ticket": draft.ticket,
            "on_behalf_of": draft.on_behalf_of.get_username() if draft.on_behalf_of else "",
            "overrides": draft.overrides_windows,
        }
        return self.options_form(initial=given), self.parameter_form(draft.values)


def build_context(
    request: HttpRequest, deployment: Deployment, frame: dict[str, Any], earlier: rerun.PreviousRequest | None = None
) -> RunFormContext:
    target, again = Target.of(deployment), (Verb.RERUN,) if earlier else ()
    offer = allowed_values.allowed_values(permissions_of(request), deployment, (*again, *allowed_values.REQUESTING))
    return RunFormContext(
        request, deployment, frame, requirements.requirements_for(target), windows.standing(target), offer, earlier
    )


def page_context(asking: RunFormContext) -> dict[str, Any]:
    deployment, taken = asking.deployment, asking.rules
    pool = WorkPool.objects.filter(environment=deployment.environment_id, name=deployment.work_pool_name).first()
    return {
        "deployment": deployment,
        "freshness": freshness.freshness_of([deployment.environment], "deployments"),
        "workforce": Workforce.of(deployment.work_pool_name, vars(pool) if pool else None),
        "rules": taken,
        "risk": rule_labels.risk_badge(taken.risk),
        "approvals": rule_labels.approvals_label(taken.stages) if taken.stages else "",
        "approval_time": times.span(taken.minutes * 60),
        "standing": asking.standing,
    }


def prefilled(asking: RunFormContext) -> dict[str, Any]:
    """What the earlier request ran with, and over it the parameters that a shared link fills in."""
    request = asking.request
    texts = {name.removeprefix(LINK_PREFIX): request.GET[name] for name in request.GET if name.startswith(LINK_PREFIX)}
    if asking.is_blind:
        texts = {}
    before = asking.earlier.values if asking.earlier else rerun.values_of_run(request, asking.deployment)
    if not asking.earlier:
        before = {**asking.offer.initial, **before}
    return {**before, **from_texts(asking.deployment.parameter_schema, texts)}


def overrides_from(request: HttpRequest) -> dict[str, str]:
    """The rest of what a shared link fills in; the reason is everybody's own."""
    return {name: request.GET[name] for name in ("run_name", "tags") if name in request.GET}

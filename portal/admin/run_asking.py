"""What the form that asks for a run knows: the rules, the reader's own limits, and what is filled in already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from flows.access import Target
from flows.models import Deployment, Verb, WorkPool
from flows.parameters import ParameterForm
from flows.parameters.links import from_texts
from portal import freshness, rule_words, times
from portal.admin import narrowing, run_again
from portal.admin.ask_form import LATER, NOW, AskForm
from portal.admin.base import holding
from portal.admin.deployment_list import Workforce
from portal.admin.run_draft import Draft
from runs import findings, rules, windows
from runs.models import RunRequest

# Query parameters of a shared link: p.month=2026-01 fills the parameter "month".
LINK_PREFIX = "p."
Parameters = ParameterForm | None
Filled = tuple[AskForm, Parameters]


@dataclass(frozen=True, slots=True)
class Asking:
    """One look at the form or one sending of it. `earlier` is the request that is asked for again."""

    request: HttpRequest
    deployment: Deployment
    frame: dict[str, Any]
    rules: rules.Rules
    standing: windows.Standing
    offer: narrowing.Offer
    earlier: run_again.Earlier | None = None

    @property
    def flow(self) -> str:
        return self.deployment.flow_name

    @property
    def may_override(self) -> bool:
        return holding(self.request).decide(Verb.OVERRIDE_FREEZE, self.deployment).allowed

    @property
    def is_blind(self) -> bool:
        """Whether it repeats what its asker may not see."""
        return self.earlier is not None and not self.earlier.may_be_seen

    @property
    def again_of(self) -> RunRequest | None:
        return self.earlier.run_request if self.earlier else None

    def ask_form(self, data: Any = None, initial: Any = None) -> AskForm:
        mine = holding(self.request)
        verbs = {NOW: Verb.RERUN if self.again_of else Verb.TRIGGER, LATER: Verb.TRIGGER_LATER}
        may = {start: bool(mine.decide(verb, self.deployment)) for start, verb in verbs.items()}
        may[NOW] = may[NOW] or bool(mine.decide(Verb.TRIGGER, self.deployment))
        starts = [start for start, allowed in may.items() if allowed]
        return AskForm(self.rules, starts, data, initial, offers_override=self.may_override)

    def parameter_form(self, initial: dict[str, Any], data: Any = None, *, is_whole: bool = False) -> Parameters:
        """What was shown decides what an untouched field means, so `initial` is the same at both times.

        `is_whole` lets values in that only the reader's grants leave out.
        """
        if self.is_blind:
            return None
        schema = self.deployment.parameter_schema if is_whole else self.offer.schema
        defaults, offers = self.deployment.parameter_defaults, findings.offers(self.deployment.environment, self.flow)
        return ParameterForm(schema, defaults, data=data, initial=initial, suggestions=offers)

    def form_from(self, draft: Draft) -> Filled:
        """The form as somebody filled it in before they were asked to confirm it."""
        planned = draft.scheduled_for
        given = {
            "start": LATER if planned else NOW,
            "scheduled_for": planned and timezone.localtime(planned).strftime("%Y-%m-%dT%H:%M"),
            "run_name": draft.run_name,
            "tags": ", ".join(draft.tags),
            "reason": draft.reason,
            "ticket": draft.ticket,
            "on_behalf_of": draft.asked_for.get_username() if draft.asked_for else "",
            "overrides": draft.overrides_windows,
        }
        return self.ask_form(initial=given), self.parameter_form(draft.values)


def begin(
    request: HttpRequest, deployment: Deployment, frame: dict[str, Any], earlier: run_again.Earlier | None = None
) -> Asking:
    target, again = Target.of(deployment), (Verb.RERUN,) if earlier else ()
    offer = narrowing.offer(holding(request), deployment, (*again, *narrowing.ASKING))
    return Asking(request, deployment, frame, rules.rules_for(target), windows.standing(target), offer, earlier)


def surroundings(asking: Asking) -> dict[str, Any]:
    deployment, taken = asking.deployment, asking.rules
    pool = WorkPool.objects.filter(environment=deployment.environment_id, name=deployment.work_pool_name).first()
    return {
        "deployment": deployment,
        "freshness": freshness.of([deployment.environment], "deployments"),
        "workforce": Workforce.of(deployment.work_pool_name, vars(pool) if pool else None),
        "rules": taken,
        "risk": rule_words.risk(taken.risk),
        "approvals": rule_words.approvals(taken.stages) if taken.stages else "",
        "approval_time": times.span(taken.minutes * 60),
        "standing": asking.standing,
    }


def prefilled(asking: Asking) -> dict[str, Any]:
    """What the earlier request ran with, and over it the parameters that a shared link fills in."""
    request = asking.request
    texts = {name.removeprefix(LINK_PREFIX): request.GET[name] for name in request.GET if name.startswith(LINK_PREFIX)}
    if asking.is_blind:
        texts = {}
    before = asking.earlier.values if asking.earlier else run_again.values_of_run(request, asking.deployment)
    if not asking.earlier:
        before = {**asking.offer.initial, **before}
    return {**before, **from_texts(asking.deployment.parameter_schema, texts)}


def given_about(request: HttpRequest) -> dict[str, str]:
    """The rest of what a shared link fills in; the reason is everybody's own."""
    return {name: request.GET[name] for name in ("run_name", "tags") if name in request.GET}

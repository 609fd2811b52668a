"""Asking for a run: the form, its confirmation, and what becomes of what was typed."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from flows import parameters as schemas
from flows import vault
from flows.access import Decision, Forbidden, Refused, Target
from flows.models import Deployment, Verb, WorkPool
from flows.parameters import Invalid, ParameterForm
from flows.parameters.links import from_texts
from portal import freshness, rule_words, times
from portal.admin import comparing, narrowing, run_again, run_draft
from portal.admin.ask_form import LATER, NOW, AskForm
from portal.admin.base import actor, holding
from portal.admin.deployment_list import Workforce
from portal.admin.run_draft import Draft
from runs import findings, lifecycle, looking, rules, windows
from runs.models import RunRequest

# Query parameters of a shared link: p.month=2026-01 fills the parameter "month".
LINK_PREFIX = "p."
CHANGED = "Its parameters changed while this form was open. Check what you typed below, and send it again."
UNSEEN = "It cannot run with those values any more. Ask somebody who may see them to ask for it."
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


def view(request: HttpRequest, deployment: Deployment, frame: dict[str, Any]) -> HttpResponse:
    """Show the form; on POST have it confirmed where that is wanted, submit it, or show it again with what is wrong."""
    try:
        lifecycle.must_be_askable(deployment, scheduled_for=None)
        earlier = run_again.earlier_of(request, deployment)
    except (Refused, vault.Sealed) as refusal:
        messages.warning(request, str(refusal))
        return HttpResponseRedirect(reverse("admin:flows_deployment_change", args=[deployment.pk]))
    asking = begin(request, deployment, frame, earlier)
    if request.method != "POST":
        return fresh(asking)
    if "draft" in request.POST:
        return answer_to_confirmation(asking)
    return sent(asking)


def begin(
    request: HttpRequest, deployment: Deployment, frame: dict[str, Any], earlier: run_again.Earlier | None = None
) -> Asking:
    target, again = Target.of(deployment), (Verb.RERUN,) if earlier else ()
    offer = narrowing.offer(holding(request), deployment, (*again, *narrowing.ASKING))
    return Asking(request, deployment, frame, rules.rules_for(target), windows.standing(target), offer, earlier)


def fresh(asking: Asking, refusal: str = "") -> HttpResponse:
    given = given_about(asking.request)
    if asking.again_of:
        given = {"tags": ", ".join(asking.again_of.tags), "run_name": asking.again_of.run_name, **given}
    filled = asking.ask_form(initial=given), asking.parameter_form(prefilled(asking))
    return page(asking, filled, key=uuid.uuid4(), refusal=refusal)


def sent(asking: Asking) -> HttpResponse:
    """The form came back, filled in."""
    request, deployment = asking.request, asking.deployment
    key = key_of(request, "submission_key") or uuid.uuid4()
    initial, kept = prefilled(asking), request.POST.get("kept", "")
    if kept:
        draft = run_draft.opened(kept, deployment, request.user, asking.again_of)
        if draft is None:
            return fresh(asking, run_draft.TOO_OLD)
        initial = draft.values
    filled = ask, parameters = asking.ask_form(request.POST), asking.parameter_form(initial, request.POST)
    if parameters and not parameters.is_valid():
        # What only the grants leave out is for the verb to refuse: that it was tried must be in the trail.
        whole = asking.parameter_form(initial, request.POST, is_whole=True)
        parameters = whole if whole and whole.is_valid() else parameters

    def again(refusal: str, key: uuid.UUID = key) -> HttpResponse:
        return page(asking, filled, key=key, refusal=refusal, kept=kept)

    # Both, so that every error shows at once.
    is_complete = all([ask.is_valid(), parameters is None or parameters.is_valid()])
    if request.POST.get("seen_fingerprint", "") != deployment.schema_fingerprint:
        return again(CHANGED)
    if not is_complete:
        return again("")
    draft = Draft(
        deployment,
        parameters.values if parameters else initial,
        key,
        deployment.schema_fingerprint,
        again_of=asking.again_of,
        **ask.wish,
    )
    if asking.rules.needs_confirmation and is_promising(asking, draft):
        return confirm(asking, draft)
    return submit(asking, draft, again)


def answer_to_confirmation(asking: Asking) -> HttpResponse:
    """Typed the name, typed something else, or wants to change something."""
    request = asking.request
    draft = run_draft.opened(request.POST["draft"], asking.deployment, request.user, asking.again_of)
    if draft is None:
        return fresh(asking, run_draft.TOO_OLD)
    kept = draft.sealed(request.user)

    def again(refusal: str, key: uuid.UUID = draft.key) -> HttpResponse:
        return page(asking, asking.form_from(draft), key=key, refusal=refusal, kept=kept)

    if "change" in request.POST:
        return again("")
    if request.POST.get("confirmation", "").strip() != draft.word:
        return confirm(asking, draft, error=f"This is not the name. Type {draft.word} to confirm.")
    return submit(asking, draft, again)


def submit(asking: Asking, draft: Draft, again: Callable[[str, uuid.UUID], HttpResponse]) -> HttpResponse:
    try:
        run_request = draft.submit(by=actor(asking.request))
    except Invalid as invalid:
        return again(UNSEEN if asking.is_blind else str(invalid), draft.renewed().key)
    except Refused as refusal:
        # Values that no grant allows, too: whoever may not ask at all was turned away before.
        return again(str(refusal), draft.renewed().key)
    if not asking.is_blind:
        for sentence in findings.not_offered(draft.deployment.environment, asking.flow, run_request.parameters):
            messages.warning(asking.request, sentence)
    return HttpResponseRedirect(reverse("admin:runs_runrequest_change", args=[run_request.pk]))


def is_promising(asking: Asking, draft: Draft) -> bool:
    """Whether it is worth a confirmation: what would be refused is submitted at once, so that the verb says why."""
    values = resolved(draft)
    if values is None or not may_run(asking, draft, values):
        return False
    is_refused = asking.rules.refuses_outside and not draft.overrides_windows
    return not is_refused or standing_of(draft).is_open


def may_run(asking: Asking, draft: Draft, values: dict[str, Any]) -> Decision:
    mine = holding(asking.request)
    if draft.scheduled_for:
        return mine.decide(Verb.TRIGGER_LATER, draft.deployment, values)
    again = mine.decide(Verb.RERUN, draft.deployment, values) if draft.again_of else None
    return again or mine.decide(Verb.TRIGGER, draft.deployment, values)


def resolved(draft: Draft) -> dict[str, Any] | None:
    """Everything it would run with, or None when that is not valid any more."""
    deployment = draft.deployment
    try:
        return schemas.validate(deployment.parameter_schema, draft.values, defaults=deployment.parameter_defaults)
    except Invalid:
        return None


def standing_of(draft: Draft) -> windows.Standing:
    now = timezone.now()
    return windows.standing(Target.of(draft.deployment), max(draft.scheduled_for or now, now))


def confirm(asking: Asking, draft: Draft, error: str = "") -> HttpResponse:
    """Show what would run, with nothing secret in it, and ask for the name of where or what it is."""
    request, deployment = asking.request, asking.deployment
    sees_all = looking.may_see_inputs(holding(request), deployment)
    last = comparing.last_success(deployment) if sees_all else None
    against = comparing.columns(deployment, last, asking.again_of)
    values = schemas.mask(deployment.parameter_schema, resolved(draft) or draft.values)
    context = {
        **asking.frame,
        **surroundings(asking),
        "title": f"Confirm a run of {deployment.full_name}",
        "wish": draft,
        "again_of": asking.again_of,
        "against": against,
        "rows": None if asking.is_blind else comparing.rows(values, deployment, against),
        "closed": "" if (standing := standing_of(draft)) else standing.sentence,
        "ticket_link": rule_words.ticket_link(asking.rules, draft.ticket),
        "draft": draft.sealed(request.user),
        "address": form_address(asking),
        "error": error,
    }
    return render(request, "portal/deployment/confirm.html", context)


def confirm_quickly(
    request: HttpRequest, deployment: Deployment, frame: dict[str, Any], key: uuid.UUID
) -> HttpResponse:
    """Have a run with nothing but its defaults confirmed."""
    asking = begin(request, deployment, frame)
    return confirm(asking, Draft(deployment, {}, key, deployment.schema_fingerprint, is_quick=True))


def page(asking: Asking, filled: Filled, *, key: uuid.UUID, refusal: str = "", kept: str = "") -> HttpResponse:
    ask, parameters = filled
    context = {
        **asking.frame,
        **surroundings(asking),
        "title": f"Run {asking.deployment.full_name}",
        "again_of": asking.again_of,
        "allowed": asking.offer.sentences,
        "ask": ask,
        "parameters": parameters,
        "submission_key": key,
        "kept": kept,
        "refusal": refusal,
    }
    return render(asking.request, "portal/deployment/run.html", context)


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


def form_address(asking: Asking) -> str:
    """Where a confirmation goes: of what a link filled in, only what is repeated still matters."""
    address = reverse("admin:flows_deployment_run", args=[asking.deployment.pk])
    return f"{address}?{run_again.AGAIN}={asking.again_of.pk}" if asking.again_of else address


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


def key_of(request: HttpRequest, *names: str) -> uuid.UUID | None:
    """The key that makes a double click one request."""
    for name in names:
        try:
            return uuid.UUID(request.POST.get(name, ""))
        except ValueError:
            continue
    return None


def must_ask(request: HttpRequest, deployment: Deployment) -> None:
    """403 with the decision's sentence; who sends a form all the same is in the trail."""
    decision = lifecycle.may_ask(request.user, deployment)
    if not decision and run_again.AGAIN in request.GET:
        decision = holding(request).decide(Verb.RERUN, deployment) or decision
    if decision:
        return
    try:
        if request.method == "POST":
            lifecycle.must_be_allowed(deployment, by=actor(request))
    except Forbidden as forbidden:
        raise PermissionDenied(str(forbidden)) from forbidden
    raise PermissionDenied(decision.sentence)

"""State of one run form: requirements, the limits of the user's grants, and prefilled values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from flows import definition, local_time
from flows.models import Deployment, WorkPool
from flows.parameters import Earlier, ParameterForm
from flows.parameters.references import from_texts
from portal.admin.deployments.list import Workforce
from portal.admin.run_form import allowed_values, preset_choice, profile_choice, rerun
from portal.admin.run_form.draft import Draft
from portal.admin.run_form.forms import LATER, NOW, RunOptionsForm
from portal.auth.request_user import permissions_of
from portal.ui import freshness, rule_labels, times
from runs import artifact_facts
from runs.access.decisions import Target
from runs.governance import windows
from runs.governance.requirements import Requirements, requirements_for
from runs.models import Preset, Run, RunRequest, Verb
from runs.requests import presets

# Query parameters of a shared link: p.month=2026-01 fills the parameter "month".
LINK_PREFIX = "p."
Parameters = ParameterForm | None
Prefilled = tuple[RunOptionsForm, Parameters]


@dataclass(frozen=True, slots=True)
class RunFormContext:
    """One GET or POST of the form.

    `earlier` is the request that is re-run, `like` a run started outside the portal whose values are copied, `preset`
    the preset that is loaded.
    """

    request: HttpRequest
    deployment: Deployment
    frame: dict[str, Any]
    rules: Requirements
    standing: windows.Standing
    offer: allowed_values.AllowedValues
    earlier: rerun.PreviousRequest | None = None
    like: Run | None = None
    preset: Preset | None = None

    @property
    def flow(self) -> str:
        return self.deployment.flow_name

    @property
    def may_override(self) -> bool:
        return permissions_of(self.request).decide(Verb.OVERRIDE_FREEZE, self.deployment).allowed

    @property
    def is_blind(self) -> bool:
        """Whether it re-runs a request whose parameters the user cannot view."""
        return self.earlier is not None and not self.earlier.is_visible

    @property
    def rerun_of(self) -> RunRequest | None:
        return self.earlier.run_request if self.earlier else None

    @property
    def repeated(self) -> Earlier | None:
        """What the form is compared with: the values of the request that is re-run, or of the run that is copied."""
        if self.earlier:
            return Earlier(f"Request {self.earlier.run_request.pk}", self.earlier.values)
        return Earlier(f"Run {self.like.name}", self.like.parameters) if self.like else None

    def options_form(self, data: Any = None, initial: Any = None) -> RunOptionsForm:
        permissions = permissions_of(self.request)
        verbs = {NOW: Verb.RERUN if self.rerun_of else Verb.TRIGGER, LATER: Verb.TRIGGER_LATER}
        allowed = {start: bool(permissions.decide(verb, self.deployment)) for start, verb in verbs.items()}
        # Requesters need only the permission to run to re-run their own request.
        allowed[NOW] = allowed[NOW] or bool(permissions.decide(Verb.TRIGGER, self.deployment))
        starts = [start for start, is_allowed in allowed.items() if is_allowed]
        return RunOptionsForm(
            self.rules, starts, data, initial, offers_override=self.may_override, profiles=self.profiles
        )

    @property
    def profiles(self) -> list[tuple[str, str]]:
        """The resource profiles to choose from, with that of what is repeated or loaded, also if it is gone."""
        return profile_choice.choices(self.request, self.deployment, self.profile)

    @property
    def profile(self) -> str:
        """The resource profile of the request that is re-run, of the preset that is loaded, or of a shared link."""
        if self.rerun_of:
            return self.rerun_of.spec.profile_name
        linked = self.request.GET.get("profile", "")[: profile_choice.LONGEST_NAME]
        return linked or (self.preset.profile if self.preset else "")

    def parameter_form(
        self, initial: dict[str, Any], data: Any = None, *, is_whole: bool = False, is_partial: bool = False
    ) -> Parameters:
        """Return the parameter form, or None if the user cannot view the parameters.

        `initial` must be the same for GET and POST: it decides what an untouched field means. `is_whole` also accepts
        values that the user's grants do not allow; `is_partial` shows the data without its errors.
        """
        if self.is_blind:
            return None
        schema = self.deployment.parameter_schema if is_whole else self.offer.schema
        suggestions, offered = artifact_facts.offers_for_form(self.deployment.environment, self.flow)
        return ParameterForm(
            schema,
            self.deployment.parameter_defaults,
            data,
            initial,
            suggestions=suggestions,
            offered=offered,
            earlier=self.repeated,
            is_partial=is_partial,
        )

    def form_from(self, draft: Draft) -> Prefilled:
        """Return the form as it was filled in before the confirmation page."""
        planned = draft.scheduled_for
        given = {
            "start": LATER if planned else NOW,
            # A datetime-local input has no time zone; it is read in the portal's.
            "scheduled_for": planned and local_time.spell(planned),
            "run_name": draft.run_name,
            "tags": ", ".join(draft.tags),
            "reason": draft.reason,
            "ticket": draft.ticket,
            "on_behalf_of": draft.on_behalf_of.get_username() if draft.on_behalf_of else "",
            "overrides": draft.overrides_windows,
            "retries": draft.retries or "",
            "profile": draft.profile,
        }
        return self.options_form(initial=given), self.parameter_form(draft.values)


def build_context(
    request: HttpRequest, deployment: Deployment, frame: dict[str, Any], earlier: rerun.PreviousRequest | None = None
) -> RunFormContext:
    target, rerun_verbs = Target.of(deployment), (Verb.RERUN,) if earlier else ()
    offer = allowed_values.allowed_values(
        permissions_of(request), deployment, (*rerun_verbs, *allowed_values.REQUESTING)
    )
    return RunFormContext(
        request,
        deployment,
        frame,
        requirements_for(target),
        windows.standing(target),
        offer,
        earlier,
        like=None if earlier else rerun.run_to_copy(request, deployment),
        preset=preset_choice.chosen(request, deployment),
    )


def page_context(form: RunFormContext) -> dict[str, Any]:
    """Return what the form and the confirmation page have in common."""
    deployment, requirements = form.deployment, form.rules
    pool = WorkPool.current.filter(environment=deployment.environment_id, name=deployment.work_pool_name).first()
    return {
        "deployment": deployment,
        "freshness": freshness.freshness_of([deployment.environment], "deployments"),
        "workforce": Workforce.of(deployment.work_pool_name, vars(pool) if pool else None),
        "rules": requirements,
        "risk": rule_labels.risk_badge(requirements.risk),
        "approvals": rule_labels.approvals_label(requirements.stages) if requirements.stages else "",
        "unpinned": [definition.moving_label(each) for each in deployment.definition.get("moving", [])]
        if requirements.refuse_moving
        else [],
        "approval_time": times.span(requirements.minutes * 60),
        "standing": form.standing,
    }


def prefilled(form: RunFormContext) -> dict[str, Any]:
    """Return the values of the earlier request, then of the preset, then those of a shared link."""
    request = form.request
    texts = {name.removeprefix(LINK_PREFIX): request.GET[name] for name in request.GET if name.startswith(LINK_PREFIX)}
    # Someone who cannot view the parameters must not be able to change single ones.
    if form.is_blind:
        texts = {}
    before = form.earlier.values if form.earlier else rerun.values_of_run(form.like)
    # A re-run starts with its own values, even those no longer allowed: the refusal explains which.
    if not form.earlier:
        before = {**form.offer.initial, **before}
    if form.preset and not form.is_blind:
        before = {**before, **presets.load(form.preset, form.deployment)[0]}
    return {**before, **from_texts(form.deployment.parameter_schema, texts)}


def overrides_from(request: HttpRequest) -> dict[str, str]:
    """Return the other values of a shared link; never the reason, which each requester must give themselves."""
    return {name: request.GET[name] for name in ("run_name", "tags") if name in request.GET}

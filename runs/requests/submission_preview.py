"""Whether a run could be requested now: the checks of a submission, without one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flows.models import Deployment
from flows.parameters import Invalid
from runs.access.decisions import Permissions, Target
from runs.actors import Actor
from runs.governance.requirements import requirements_for
from runs.models import Verb
from runs.requests.destructive import require_name_typed
from runs.requests.offered_values import offer_errors, offers_of
from runs.requests.rules import validate_text
from runs.requests.spec import Spec, freeze, require_possible


class Preview:
    """The submissions of runs of one deployment by one actor that start now; what they share is read once.

    Change windows and freezes are left out: they hold a run, and do not refuse its request unless a policy says so.
    """

    def __init__(self, deployment: Deployment, *, by: Actor) -> None:
        self.deployment = deployment
        self.permissions = Permissions.of(by)
        self.requirements = requirements_for(Target.of(deployment))
        self.offers = offers_of(deployment)

    @property
    def needs_approval(self) -> bool:
        return bool(self.requirements.stages)

    def check(self, parameters: Mapping[str, Any], *, reason: str) -> dict[str, Any]:
        """Return the values that would run, secrets masked; raise what `submit` would raise."""
        spec = Spec(self.deployment, parameters)
        self.permissions.require(Verb.TRIGGER, self.deployment)
        require_possible(spec, None)
        self.requirements.require_reason_and_ticket("run", reason=reason, ticket="")
        self.requirements.require_pinned(str(self.deployment), self.deployment.definition)
        validate_text(reason, "")
        frozen = freeze(spec, Verb.TRIGGER, self.permissions)
        if errors := offer_errors(self.deployment, frozen.values, self.offers):
            raise Invalid(*errors)
        require_name_typed(self.deployment, frozen.values, "")
        return frozen.masked

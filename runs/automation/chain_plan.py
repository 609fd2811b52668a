"""The plan of a run of a chain: of each step the runs that it would be, what exists already, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows import canonical
from flows import parameters as schemas
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.automation.chain_definition import Step
from runs.automation.chain_items import resolve_item
from runs.automation.chain_specs import RunOutline, StepOutline, outline
from runs.errors import Refused
from runs.models import Chain, Verb
from runs.requests import Item, Outcome
from runs.requests.earlier_runs import Earlier, earlier_runs


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What one step would run; one that is no backfill has one item without values.

    `names` are the parameters that vary and whose values the reader may see: those from inputs are the reader's own,
    constants need permission to view parameters.
    """

    outline: StepOutline
    items: Sequence[Item]
    names: Sequence[str]

    @property
    def step(self) -> Step:
        return self.outline.step

    @property
    def refused(self) -> list[Item]:
        return [item for item in self.items if item.outcome == Outcome.REFUSE]

    def shown(self, item: Item) -> dict[str, Any]:
        return {name: item.varied[name] for name in self.names}


@dataclass(frozen=True, slots=True)
class ChainPlan:
    """What a run of a chain would be: `digest` is what a request quotes to run exactly this."""

    outline: RunOutline
    steps: Sequence[StepPlan]

    @property
    def digest(self) -> str:
        return self.outline.digest

    @property
    def runs(self) -> int:
        return sum(len(each.items) for each in self.steps)

    @property
    def refused(self) -> int:
        return sum(len(each.refused) for each in self.steps)


def plan_run(
    chain: Chain, inputs: Mapping[str, Any], *, by: Actor, profiles: Mapping[str, str] | None = None
) -> ChainPlan:
    """Return what a run of the chain would be; nothing is stored.

    Nothing is skipped because it completed before: the steps before it can change what it reads. Raises `Forbidden`
    without permission to run each step with some values, and `Refused` for what cannot be planned.
    """
    chain = Chain.objects.select_related("environment").get(pk=chain.pk)
    found, permissions = outline(chain, inputs, profiles or {}, by=by), Permissions.of(by)
    return ChainPlan(found, [plan_step(each, permissions) for each in found.steps])


def plan_step(each: StepOutline, permissions: Permissions) -> StepPlan:
    step, deployment = each.step, each.deployment
    sees = permissions.decide(Verb.SEE_INPUTS, deployment).allowed
    checked = [check(each, values, permissions) for values in each.items]
    # Without the values of artifacts it is not known which runs would be the same.
    is_known = sees and step.over is not None and not step.from_artifacts
    valid = [values for values, _, _ in checked if values is not None]
    earlier = earlier_runs(deployment, list(each.lists), valid) if is_known else {}
    items = [
        item_of(each, position, varied, one, earlier)
        for position, (varied, one) in enumerate(zip(each.items, checked, strict=True))
    ]
    own = {varied.parameter for varied in (step.over.varied if step.over else ()) if varied.input}
    return StepPlan(each, items, [name for name in each.lists if sees or name in own])


type Checked = tuple[dict[str, Any] | None, str, str]


def check(each: StepOutline, values: Mapping[str, Any], permissions: Permissions) -> Checked:
    """Return the parameters of one run, None if it would be refused, with the code and reason of that."""
    try:
        return resolve_item(each.step, each.deployment, each.fixed, values, permissions), "", ""
    except schemas.Invalid as invalid:
        return None, invalid.errors[0].code, str(invalid)
    except Refused as refusal:
        return None, refusal.code, refusal.message


def item_of(
    each: StepOutline, position: int, varied: Mapping[str, Any], checked: Checked, earlier: Mapping[str, Earlier]
) -> Item:
    values, code, why = checked
    if values is None:
        return Item(position, varied, Outcome.REFUSE, code, why)
    key = canonical.text(schemas.split(each.deployment.parameter_schema, values)[0])
    return Item(position, varied, Outcome.RUN, earlier=earlier.get(key), values=values)

"""The plan of a backfill: which runs it would request, which exist already, and which are refused and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from math import prod
from typing import Any

from flows import canonical
from flows import parameters as schemas
from flows.models import Deployment
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.artifact_facts import BindingOffer
from runs.errors import Refused
from runs.models import Verb
from runs.requests import profile_rules
from runs.requests.backfill_ranges import MOST_ITEMS, too_many, values_from
from runs.requests.destructive import is_destructive
from runs.requests.earlier_runs import Earlier, earlier_runs
from runs.requests.offered_values import offer_errors, offers_of
from runs.requests.rules import require_submittable

MOST_PARAMETERS = 2
# An item needs both, with its own values: a backfill is many runs, and each is a run.
NEEDED = (Verb.TRIGGER, Verb.BACKFILL)


class Outcome(StrEnum):
    """What a backfill does with one item."""

    RUN = "run"
    SKIP = "skip"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Item:
    """One item: `varied` are its values of the varied parameters, `values` all of them, secrets included.

    `earlier` is the latest run or open request with exactly these values, `why` the reason for not running it.
    """

    position: int
    varied: Mapping[str, Any]
    outcome: Outcome
    code: str = ""
    why: str = ""
    earlier: Earlier | None = None
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """`checks_earlier` is False for people who cannot view parameters: for them nothing is looked up.

    `profile` is what each run would freeze of its resource profile; empty without one.
    """

    deployment: Deployment
    names: tuple[str, ...]
    items: Sequence[Item]
    checks_earlier: bool
    profile: Mapping[str, Any] = field(default_factory=dict)

    @property
    def to_run(self) -> list[Item]:
        return [item for item in self.items if item.outcome == Outcome.RUN]

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(item.outcome for item in self.items)
        return {outcome.value: found[outcome] for outcome in Outcome}

    @property
    def is_destructive(self) -> bool:
        return any(is_destructive(self.deployment, item.values) for item in self.to_run)

    @property
    def digest(self) -> str:
        """Return the SHA-256 over what would run as it was displayed; secrets are not varied, so none is in it."""
        deployment = self.deployment
        return canonical.digest(
            {
                "deployment": deployment.prefect_id,
                "definition": deployment.definition_fingerprint,
                "schema": deployment.schema_fingerprint,
                "items": [item.varied for item in self.to_run],
                "profile": self.profile,
            }
        )


def plan_backfill(
    deployment: Deployment,
    parameters: Mapping[str, Any],
    vary: Mapping[str, str | Sequence[Any]],
    *,
    by: Actor,
    skip_completed: bool = True,
    skip_open: bool = True,
    profile: str = "",
) -> Plan:
    """Return what a backfill over the values of one or two parameters would do; nothing is stored.

    `vary` has the ranges or lists, as `values_from` reads them; `parameters` are the values that all items share, and
    `profile` is the name of their resource profile. Raises `Forbidden` without the permission for any values, and
    `Refused` for ranges that cannot be planned and a profile that cannot be chosen.
    """
    # 1. The permission first: without it nothing else is revealed.
    permissions = Permissions.of(by)
    for verb in NEEDED:
        permissions.require(verb, deployment)
    require_submittable(deployment, scheduled_for=None)
    chosen = profile_rules.frozen(deployment, profile, by) if profile else {}
    # 2. The values: each combination is an item.
    lists = values_to_vary(deployment, parameters, vary)
    combinations = [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]
    # 3. Each as a single run would be: its values, what is on offer, and the permission for exactly these.
    offers = offers_of(deployment)
    checked = [check(deployment, {**parameters, **each}, permissions, offers) for each in combinations]
    # 4. What exists already.
    sees = permissions.decide(Verb.SEE_INPUTS, deployment).allowed
    valid = [values for values, _, _ in checked if values is not None]
    found = earlier_runs(deployment, list(lists), valid) if sees else {}
    items = [
        item_of(deployment, position, varied, one, found, skips=(skip_completed, skip_open))
        for position, (varied, one) in enumerate(zip(combinations, checked, strict=True))
    ]
    return Plan(deployment, tuple(lists), items, checks_earlier=sees, profile=chosen)


def values_to_vary(
    deployment: Deployment, parameters: Mapping[str, Any], vary: Mapping[str, str | Sequence[Any]]
) -> dict[str, list[Any]]:
    """Return parameter -> its values; refuse too many, unknown and secret parameters, and too many items."""
    schema = deployment.parameter_schema
    if not 1 <= len(vary) <= MOST_PARAMETERS:
        raise Refused("backfill.parameters", f"A backfill varies one or {MOST_PARAMETERS} parameters.")
    properties, public = schema.get("properties"), schemas.public_parameters(schema)
    for name in vary:
        if not isinstance(properties, dict) or name not in properties:
            raise Refused("backfill.parameter_unknown", f"{deployment} has no parameter {name}.", parameter=name)
        if name in parameters:
            raise Refused("backfill.twice", f"Give {name} as a range or as a fixed value, not both.", parameter=name)
        if name not in public:
            raise Refused("backfill.secret", f"{name} is a secret: a backfill cannot vary it.", parameter=name)
    lists = {name: values_from(schema, name, given) for name, given in vary.items()}
    if (count := prod(map(len, lists.values()))) > MOST_ITEMS:
        raise too_many(count)
    return lists


type Checked = tuple[dict[str, Any] | None, str, str]


def check(
    deployment: Deployment,
    parameters: Mapping[str, Any],
    permissions: Permissions,
    offers: Mapping[str, BindingOffer],
) -> Checked:
    """Return the resolved values of one item, None if they are not valid, with the code and reason of a refusal."""
    try:
        values = schemas.validate(deployment.parameter_schema, parameters, defaults=deployment.parameter_defaults)
    except schemas.Invalid as invalid:
        return None, invalid.errors[0].code, str(invalid)
    for verb in NEEDED:
        if not (decision := permissions.decide(verb, deployment, values)):
            return values, decision.code, decision.sentence
    if errors := offer_errors(deployment, values, offers):
        return values, errors[0].code, " ".join(map(str, errors))
    return values, "", ""


def item_of(
    deployment: Deployment,
    position: int,
    varied: Mapping[str, Any],
    checked: Checked,
    found: Mapping[str, Earlier],
    *,
    skips: tuple[bool, bool],
) -> Item:
    values, code, why = checked
    if values is None or code:
        return Item(position, varied, Outcome.REFUSE, code, why)
    earlier = found.get(canonical.text(schemas.split(deployment.parameter_schema, values)[0]))
    skip_completed, skip_open = skips
    if earlier and ((earlier.is_completed and skip_completed) or (earlier.is_open and skip_open)):
        code = "backfill.completed" if earlier.is_completed else "backfill.open"
        return Item(position, varied, Outcome.SKIP, code, f"{earlier.label}: skipped.", earlier, values)
    return Item(position, varied, Outcome.RUN, earlier=earlier, values=values)

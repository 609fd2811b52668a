"""Compare deployments of one name, or of one alias, in all pairs of environments. The only code that writes `Drift`.

All pairs are looked at each time, by digests of what is compared: only a pair of which one has changed is read whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import batched, combinations
from operator import attrgetter

from django.db import transaction
from django.db.models import F, TextField
from django.db.models.functions import MD5, Cast, JSONObject
from django.utils import timezone

from flows import canonical
from flows.models import Alias, Deployment
from runs.drift import facts
from runs.drift.since import Change, Since, find_beginning
from runs.models import AuditEntry, Drift, Schedule

# Pairs that are read, compared and written at once.
BATCH = 200
# Pairs that one task compares: the first comparison of 10,000 deployments takes longer than a task may.
MOST = 5_000
# All that `facts.values_of` reads but the portal's own schedules. The definition covers schema, defaults, job
# variables, code, work pool and version.
COMPARED = (
    *("definition_fingerprint", "schema_fingerprint", "tags", "schedules", "is_paused"),
    *("concurrency_limit", "collision_strategy", "shared_limit"),
)
WRITTEN = ["left", "right", "kinds", "since", "changed_at", "left_inputs", "right_inputs"]
# Environment and full name of a deployment -> the portal's own schedules of it, in words.
type Schedules = dict[tuple[int, str], list[dict[str, str]]]
LIVE = (Schedule.State.ACTIVE, Schedule.State.PAUSED)


@dataclass(frozen=True, slots=True)
class Entry:
    """A deployment that is compared, without what is large."""

    pk: int
    environment: int
    name: str
    inputs: str


# Environments and names of both sides.
type Key = tuple[int, int, str, str]


@dataclass(frozen=True, slots=True)
class Pair:
    left: Entry
    right: Entry

    @property
    def key(self) -> Key:
        return self.left.environment, self.right.environment, self.left.name, self.right.name

    @property
    def identity(self) -> str:
        return canonical.digest(self.key)

    @property
    def inputs(self) -> tuple[str, str]:
        return self.left.inputs, self.right.inputs


def refresh(most: int = MOST) -> int:
    """Compare what has changed, and return how many pairs that was: `most` of them if there are more."""
    now = timezone.now()
    pairs = {pair.key: pair for pair in all_pairs(list(entries()))}
    columns = ("pk", "left_environment", "right_environment", "left_name", "right_name", "left_inputs", "right_inputs")
    compared: dict[Key, tuple[str, str]] = {}
    gone: list[int] = []
    for pk, left, right, left_name, right_name, *inputs in Drift.objects.order_by().values_list(*columns).iterator():
        key = left, right, left_name, right_name
        if key in pairs:
            compared[key] = inputs[0], inputs[1]
        else:
            gone.append(pk)
    Drift.objects.filter(pk__in=gone).delete()
    due = [pair for key, pair in pairs.items() if compared.get(key) != pair.inputs][:most]
    for batch in batched(due, BATCH):
        compare({pair.identity: pair for pair in batch}, at=now)
    return len(due)


def entries() -> Iterator[Entry]:
    """Yield the deployments that are deployed in active environments; of one name in an environment the newest."""
    schedules = live_schedules()
    rows = (
        Deployment.objects.filter(deleted_upstream_at=None, environment__is_active=True)
        .order_by("environment", F("created_upstream_at").desc(nulls_last=True), "-pk")
        .annotate(inputs=MD5(Cast(JSONObject(**{name: name for name in COMPARED}), TextField())))
        .values_list("pk", "environment", "full_name", "inputs")
    )
    seen: set[tuple[int, str]] = set()
    for pk, environment, name, inputs in rows.iterator():
        # Two rows can be left of a deletion that no sync has seen yet.
        if (environment, name) not in seen:
            seen.add((environment, name))
            own = schedules.get((environment, name))
            # With the key: one that was deployed again is another row.
            parts = (facts.FORMAT, pk, inputs, canonical.digest(own)[:32] if own else "")
            yield Entry(pk, environment, name, ":".join(map(str, parts)))


def live_schedules(names: Iterable[str] | None = None) -> Schedules:
    """Return the portal's own schedules that have not ended, by environment and full name of the deployment."""
    found: Schedules = defaultdict(list)
    rows = Schedule.objects.filter(state__in=LIVE)
    if names is not None:
        rows = rows.filter(deployment__full_name__in=names)
    columns = ("environment", "deployment__full_name", "name", "rule_type", "rule", "time_zone", "state")
    for environment, deployment, name, kind, rule, zone, state in rows.order_by("pk").values_list(*columns):
        found[environment, deployment].append({"name": name, "rule": f"{kind} {rule} ({zone})", "state": state})
    return found


def all_pairs(deployed: Sequence[Entry]) -> Iterator[Pair]:
    """Yield the pairs that have a full name in common, or an alias, each as often as there are reasons for it."""
    by_name: dict[str, list[Entry]] = defaultdict(list)
    for entry in deployed:
        by_name[entry.name].append(entry)
    there = {(entry.environment, entry.name): entry for entry in deployed}
    by_alias: dict[str, list[Entry]] = defaultdict(list)
    for alias, environment, name in Alias.objects.values_list("name", "environment", "full_name"):
        if (environment, name) in there:
            by_alias[alias].append(there[environment, name])
    for alike in (*by_name.values(), *by_alias.values()):
        # By the key, and not by the position, which can be edited: a difference would lose its time.
        for left, right in combinations(sorted(alike, key=attrgetter("environment")), 2):
            yield Pair(left, right)


@transaction.atomic
def compare(pairs: dict[str, Pair], *, at: datetime) -> None:
    """Compare these pairs and write what was found."""
    keys = {entry.pk for pair in pairs.values() for entry in (pair.left, pair.right)}
    deployments = Deployment.objects.in_bulk(keys)
    schedules = live_schedules({each.full_name for each in deployments.values()})
    changes = recorded_changes(keys)
    known = Drift.objects.in_bulk(list(pairs), field_name="identity")
    rows = []
    for identity, pair in pairs.items():
        left, right = deployments[pair.left.pk], deployments[pair.right.pk]
        recorded = [
            *(Change(entry.at, "left", entry.before, entry.after) for entry in changes.get(left.pk, ())),
            *(Change(entry.at, "right", entry.before, entry.after) for entry in changes.get(right.pk, ())),
        ]
        recorded.sort(key=lambda change: change.at, reverse=True)
        since = {
            kind: beginning(kind, pair, left, right, known.get(identity), recorded, at)
            for kind in differing(left, right, schedules)
        }
        rows.append(
            Drift(
                identity=identity,
                left=left,
                right=right,
                left_environment_id=pair.left.environment,
                right_environment_id=pair.right.environment,
                left_name=pair.left.name,
                right_name=pair.right.name,
                kinds=[kind.value for kind in since],
                since={kind.value: each.stored() for kind, each in since.items()},
                changed_at=max((each.at for each in since.values()), default=at),
                left_inputs=pair.left.inputs,
                right_inputs=pair.right.inputs,
            )
        )
    Drift.objects.bulk_create(rows, update_conflicts=True, unique_fields=["identity"], update_fields=WRITTEN)


def differing(left: Deployment, right: Deployment, schedules: Schedules) -> list[Drift.Kind]:
    """Return in what two deployments differ; what is secret in one of them is not compared."""
    secrets = facts.secrets_of(left, right)
    return facts.differing(
        *(
            facts.values_of(each, schedules.get((each.environment_id, each.full_name), ()), secrets)
            for each in (left, right)
        )
    )


def beginning(
    kind: Drift.Kind,
    pair: Pair,
    left: Deployment,
    right: Deployment,
    known: Drift | None,
    recorded: Sequence[Change],
    at: datetime,
) -> Since:
    """Return since when a pair differs: as it is stored, by the record, or from now on."""
    if known and kind in known.since:
        return Since.read(known.since[kind])
    if found := find_beginning(kind, left.definition, right.definition, recorded):
        return found
    if known is None:
        return Since(at, is_exact=False)
    is_left, is_right = pair.left.inputs != known.left_inputs, pair.right.inputs != known.right_inputs
    return Since(at, "" if is_left and is_right else "left" if is_left else "right")


def recorded_changes(keys: Iterable[int]) -> dict[int, list[AuditEntry]]:
    """Return the recorded changes of these deployments' definitions, by deployment."""
    found: dict[int, list[AuditEntry]] = defaultdict(list)
    entries = AuditEntry.objects.filter(
        verb="deployment.changed", subject_kind="deployment", subject_id__in=[str(key) for key in keys]
    )
    for entry in entries.order_by("-sequence").only("at", "subject_id", "before", "after"):
        found[int(entry.subject_id)].append(entry)
    return found

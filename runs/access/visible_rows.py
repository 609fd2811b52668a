"""Which rows a person sees: their grants as conditions in SQL. `decisions` decides the same for one target.

Grants on single deployments, flows and tags are looked up once, as keys of deployments: Postgres finds the rows of many
keys in an index, and knows how many there are. With one condition for each of 200 grants it did neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import compress, product
from typing import Any

from django.db.models import BigAutoField, CharField, Lookup, Q, QuerySet

from flows.models import Deployment
from runs.models import Grant, Verb
from runs.models.grant import PART_OF

# The lookup of the deployment that decides about a run, and about its counts; other rows always have a deployment.
OF_RUN = "access_deployment__"
# Environment -> keys of its deployments that match a condition.
Keys = Callable[[Q], dict[int, list[int]]]
# Grants of one effect and environment, with the columns by which all of them select.
Alike = tuple[tuple[str, ...], list[Grant]]
# Which columns are filled in -> their names.
COLUMNS = {
    filled: tuple(compress(("full_name", "flow_name", "tag"), filled)) for filled in product((False, True), repeat=3)
}


@CharField.register_lookup
@BigAutoField.register_lookup
class AnyOf(Lookup):
    """`pk__any_of=[…]`: as `in`, with one parameter however many keys or names there are."""

    lookup_name = "any_of"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        column, parameters = self.process_lhs(compiler, connection)
        if hasattr(self.rhs, "as_sql"):
            # An array that Postgres reads once, such as `ArraySubquery`.
            array, values = compiler.compile(self.rhs)
            return f"{column} = ANY({array})", (*parameters, *values)
        kind = "text" if isinstance(self.lhs.output_field, CharField) else "bigint"
        return f"{column} = ANY(%s::{kind}[])", (*parameters, self.rhs)


def read_keys(matching: Q) -> dict[int, list[int]]:
    """Return the keys of the deployments that match, by environment."""
    found: dict[int, list[int]] = {}
    for environment, key in Deployment.objects.filter(matching).order_by("pk").values_list("environment_id", "pk"):
        found.setdefault(environment, []).append(key)
    return found


def condition(
    grants: Sequence[Grant],
    verb: Verb,
    *,
    is_administering: bool,
    deployment: str = "",
    base: str = "",
    keys: Keys = read_keys,
) -> Q:
    """Return the condition for the rows on which these grants allow the verb.

    `base` and `deployment` are lookup prefixes, such as "" and "access_deployment__". `is_administering` allows it
    everywhere but where a grant denies it.
    """
    allowing, denying = about_rows(grants, verb)
    # All rows, or those of the grants.
    allow = Q() if is_administering else covered(allowing, deployment=deployment, base=base, keys=keys)
    if denying:
        allow &= ~covered(denying, deployment=deployment, base=base, keys=keys)
    return allow


def about_rows(grants: Sequence[Grant], verb: Verb) -> tuple[list[Grant], list[Grant]]:
    """Return the grants that allow the verb on rows, and those that deny it."""
    # A denial with a condition denies some values, not the row.
    about = {verb, PART_OF.get(verb, verb)}
    denying = [g for g in grants if g.effect == Grant.Effect.DENY and about & set(g.verbs) and not g.predicate]
    return [g for g in grants if g.effect == Grant.Effect.ALLOW and verb in g.verbs], denying


def whole_environments(grants: Sequence[Grant], verb: Verb, *, is_administering: bool) -> Q:
    """Return the condition for the rows of the environments in which no grant narrows the verb to some rows."""
    allowing, denying = about_rows(grants, verb)
    broad = [grant for grant in allowing if not is_narrow(grant)]
    # Never an empty Q, whose negation Django drops.
    found = Q(environment__isnull=False) if is_administering else covered(broad, deployment="", base="", keys=read_keys)
    for grant in denying:
        found &= ~Q(*place_of(grant, ""))
    return found


def covered(grants: Sequence[Grant], *, deployment: str, base: str, keys: Keys) -> Q:
    """Return `covers` in SQL for any of some grants of one effect.

    For a model whose lookups start with `base` and reach the deployment by `deployment`.
    """
    found, alike = Q(pk__in=[]), grouped(grants)
    for columns, rows in alike:
        if not columns:
            found |= Q(*place_of(rows[0], base))
    narrow = [(columns, rows) for columns, rows in alike if columns]
    if narrow and not deployment:
        found |= matched(narrow, base)
    elif narrow:
        for environment, ids in keys(matched(narrow, "")).items():
            found |= Q((f"{base}environment", environment), (f"{deployment}pk__any_of", ids))
    if deployment.endswith(OF_RUN):
        # A run without a deployment is known by its flow alone.
        for columns, rows in narrow:
            if columns == ("flow_name",):
                names = [grant.flow_name for grant in rows]
                place = place_of(rows[0], base)
                found |= Q(*place, (f"{deployment}isnull", True), (f"{base}flow_name__any_of", names))
    return found


def matched(narrow: Iterable[Alike], base: str) -> Q:
    """Return the condition for the deployments that any of these narrow grants covers."""
    found = Q(pk__in=[])
    for columns, rows in narrow:
        place = place_of(rows[0], base)
        if columns in (("full_name",), ("flow_name",)):
            (column,) = columns
            found |= Q(*place, (f"{column}__any_of", [getattr(grant, column) for grant in rows]))
            continue
        for grant in rows:
            selector: dict[str, Any] = {name: getattr(grant, name) for name in columns if name != "tag"}
            if grant.tag:
                selector["tags__contains"] = [grant.tag]
            found |= Q(*place, **selector)
    return found


def grouped(grants: Iterable[Grant]) -> list[Alike]:
    """Return the grants, which are of one effect, by their environment and the columns they select by.

    There are few such groups, however many grants there are.
    """
    found: dict[tuple[int | None, tuple[str, ...]], list[Grant]] = {}
    for grant in grants:
        found.setdefault((grant.environment_id, columns_of(grant)), []).append(grant)
    return [(columns, rows) for (_, columns), rows in found.items()]


def place_of(grant: Grant, base: str) -> tuple[tuple[str, int | bool], ...]:
    """Return the condition for the environments that a grant covers."""
    if grant.environment_id is not None:
        return ((f"{base}environment", grant.environment_id),)
    if grant.effect == Grant.Effect.ALLOW:
        return ((f"{base}environment__is_protected", False),)
    # Django drops an empty Q, even a negated one: a denial would vanish.
    return ((f"{base}environment__isnull", False),)


def columns_of(grant: Grant) -> tuple[str, ...]:
    """Return the names of the selector's columns that are filled in, besides the environment."""
    return COLUMNS[bool(grant.full_name), bool(grant.flow_name), bool(grant.tag)]


def is_narrow(grant: Grant) -> bool:
    return bool(columns_of(grant))


def environment_condition(grants: Sequence[Grant], deployments: QuerySet[Deployment]) -> Q:
    """Return the condition for the environments in which at least one deployment, or all of them, are visible."""
    seeing = [grant for grant in grants if Verb.SEE in grant.verbs]
    allowing = [grant for grant in seeing if grant.effect == Grant.Effect.ALLOW]
    # An environment without deployments is visible too, when a grant names it: it may just be new.
    seen = Q(pk__in=deployments.values("environment"))
    seen |= Q(pk__in=[grant.environment_id for grant in allowing if grant.environment_id])
    if any(grant.environment_id is None for grant in allowing):
        seen |= Q(is_protected=False)
    for grant in seeing:
        # Denying everything in an environment hides the environment itself.
        if grant.effect == Grant.Effect.DENY and not is_narrow(grant):
            seen &= ~Q(pk=grant.environment_id) if grant.environment_id else Q(pk__in=[])
    return seen

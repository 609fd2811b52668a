"""A list of rows: which an actor sees, by which filters, in which order.

A page is found by the position of the last row before it, on the columns that the list is sorted by: however far one
reads, a page costs the same, and rows that appear meanwhile move no others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import GeneratedField, Model, Prefetch, Q, QuerySet

from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.models import Verb


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter of a list: what it selects, the type of its value, and a description for people.

    `condition` is a lookup in Django's notation, or a function of the value. With a type of `list` any of the values
    may match. What a value tells must be visible with the row: `needs` is the permission for it otherwise.
    """

    condition: str | Callable[[Any], Q]
    type: Any
    description: str
    needs: Verb | None = None
    shortest: int = 0  # characters of a text

    def q(self, value: Any) -> Q:
        return Q(**{self.condition: value}) if isinstance(self.condition, str) else self.condition(value)


@dataclass(frozen=True, slots=True)
class Page[Row: Model]:
    """Some rows of a list, and the position of the last one if there are more: a value for each sort column."""

    rows: list[Row]
    last: tuple[Any, ...] | None


@dataclass(frozen=True, slots=True)
class Listing[Row: Model]:
    """`order` are columns that are never null, the last one unique; "-" before it sorts downwards."""

    name: str
    model: type[Row]
    visible: Callable[[Actor, Permissions], Q]
    order: tuple[str, ...]
    filters: Mapping[str, Filter] = field(default_factory=dict)
    related: tuple[str, ...] = ()
    annotations: Mapping[str, Any] = field(default_factory=dict)
    prefetched: tuple[str | Prefetch[Any], ...] = ()
    # The lookup prefix of the deployment that decides about a row, for filters that need a permission of their own.
    deployment: str = ""
    # The columns that a page needs, where reading all of them would take most of its time; none is all.
    only: tuple[str, ...] = ()
    # Large columns that no page or row of the API shows.
    deferred: tuple[str, ...] = ()
    # Columns that begin the order: of rows with the same values the list has one.
    distinct: tuple[str, ...] = ()
    # What SQL cannot decide, or what is read beside the rows of a page. A page is shorter by those that it leaves out.
    keep: Callable[[list[Row], Permissions], list[Row]] | None = None

    def rows(
        self, by: Actor, chosen: Mapping[str, Any] | None = None, *, permissions: Permissions | None = None
    ) -> QuerySet[Row]:
        """Return the rows that the actor sees, filtered by the values that are not None.

        `permissions` are those of the actor where they have been read.
        """
        permissions = permissions or Permissions.of(by)
        found: QuerySet[Row] = self.model._default_manager.annotate(**self.annotations)
        found = found.filter(self.visible(by, permissions))
        for name, value in (chosen or {}).items():
            if value is not None:
                found = found.filter(self.selected(name, value, permissions))
        # Without names it would follow every foreign key.
        found = found.select_related(*self.related) if self.related else found
        found = found.defer(*self.deferred) if self.deferred else found
        found = found.distinct(*self.distinct) if self.distinct else found
        return found.prefetch_related(*self.prefetched)

    def selected(self, name: str, value: Any, permissions: Permissions) -> Q:
        """Return the condition of a filter, on the rows of which the actor may know what it compares."""
        chosen = self.filters[name]
        return chosen.q(value) & (permissions.q(chosen.needs, deployment=self.deployment) if chosen.needs else Q())

    def page(
        self,
        by: Actor,
        chosen: Mapping[str, Any],
        *,
        after: Sequence[Any] | None,
        limit: int,
        permissions: Permissions | None = None,
    ) -> Page[Row]:
        """Return up to `limit` rows after a position. `permissions` are those of the actor where they were read."""
        permissions = permissions or Permissions.of(by)
        found = self.rows(by, chosen, permissions=permissions).order_by(*self.order)
        found = found.only(*self.only) if self.only else found
        if after is not None:
            found = found.filter(self.beyond(after))
        # One more than is returned: whether there is another page.
        rows = list(found[: limit + 1])
        is_last = len(rows) <= limit
        rows = rows[:limit]
        last = None if is_last else self.position(rows[-1])
        return Page(self.keep(rows, permissions) if self.keep else rows, last)

    def beyond(self, after: Sequence[Any]) -> Q:
        """Return the condition for the rows after a position."""
        return beyond(self.order, after)

    def position(self, row: Row) -> tuple[Any, ...]:
        return tuple(getattr(row, name.removeprefix("-")) for name in self.order)


def beyond(order: Sequence[str], after: Sequence[Any]) -> Q:
    """Return the condition for the rows after a position, in an order of columns that are never null."""
    first, *_ = order
    condition, equal = Q(pk__in=[]), Q()
    for name, value in zip(order, after, strict=True):
        column = name.removeprefix("-")
        comparison = "lt" if name.startswith("-") else "gt"
        condition |= equal & Q(**{f"{column}__{comparison}": value})
        equal &= Q(**{column: value})
    # The same once more for the first column alone: by it an index is read from the position, not from its beginning.
    bound = "lte" if first.startswith("-") else "gte"
    return Q(**{f"{first.removeprefix('-')}__{bound}": after[0]}) & condition


def read_position(model: type[Model], order: Sequence[str], values: Sequence[Any]) -> list[Any]:
    """Return a position from its values as text; raises `ValueError` or `ValidationError` for what is none."""
    names = [name.removeprefix("-") for name in order]
    fields = [model._meta.pk if name == "pk" else model._meta.get_field(name) for name in names]
    # A stored column knows no type but that of its expression.
    types = [field.output_field if isinstance(field, GeneratedField) else field for field in fields]
    return [each.to_python(value) for each, value in zip(types, values, strict=True)]  # type: ignore[union-attr]

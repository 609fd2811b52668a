"""Change lists: the filter row, a bounded search and count, chosen columns, and pages by position.

A page of a large list is found by the position of the row before it, as in `runs.listing`: the thousandth page costs
what the first one does, and rows that appear meanwhile move no others. Short lists have
numbered pages, and can also be sorted by columns of other tables.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ORDER_VAR, SEARCH_VAR
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import DataError
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict
from django.utils.functional import cached_property
from unfold.views import ChangeList

from portal.auth.request_user import actor_of
from portal.lists import filters, live_filters, saved_views
from portal.lists.display import PARAMETERS, Display
from portal.lists.empty_hints import HINTS, EmptyHint
from portal.lists.filters import Personal
from portal.lists.search import BoundedSearchForm
from runs import listing
from runs.actors import is_administrator

AFTER, BEFORE = "after", "before"
# Counting a million rows takes longer than showing fifty of them.
MOST_COUNTED = 1_000


def count(rows: QuerySet[Any]) -> int:
    """Return the number of rows, at most one more than `MOST_COUNTED`."""
    return int(rows.order_by()[: MOST_COUNTED + 1].count())


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # it takes no argument when it runs
    """Numbered pages of a short list; more than `MOST_COUNTED` rows are not counted."""

    object_list: QuerySet[Any]

    @cached_property
    def count(self) -> int:
        return count(self.object_list)


@dataclass(frozen=True, slots=True)
class View:
    """One entry of the menu of views; `pk` is that of a saved one, `shared_by` its owner if that is someone else."""

    name: str
    query: str
    is_current: bool
    pk: int = 0
    shared_by: str = ""
    may_delete: bool = False


class RestrictedList(ChangeList):  # type: ignore[misc]  # the theme's has no types
    """A list with the row of filters. `is_counted_to_the_end` is False when there are more rows than were counted."""

    search_form_class = BoundedSearchForm
    # What the links of the pages lead to; empty at the ends of the list.
    newer_link = older_link = first_link = ""

    def __init__(self, request: HttpRequest, *args: Any, **options: Any) -> None:
        self.display = Display.of(request, options.get("model_admin") or args[10])
        self.reader = actor_of(request)
        super().__init__(request, *args, **options)
        # Rows are the same for all who see them, and "back" is the browser's.
        self.preserved_filters = ""

    def get_filters_params(self, params: dict[str, Any] | None = None) -> dict[str, Any]:
        found: dict[str, Any] = super().get_filters_params(params)
        return {name: value for name, value in found.items() if name not in {AFTER, BEFORE, *PARAMETERS}}

    # Django checks the value of a filter, such as the year 0, only when the query runs, and would answer 500.
    def get_queryset(self, request: HttpRequest, exclude_parameters: list[str] | None = None) -> QuerySet[Any]:
        try:
            found: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        except (ValueError, OverflowError) as error:
            raise IncorrectLookupParameters from error
        return found

    def get_results(self, request: HttpRequest) -> None:
        self.list_per_page = self.display.rows
        try:
            self.find_results(request)
            self.prepare_rows(request, self.result_list)
        except (ValueError, OverflowError, DataError) as error:
            raise IncorrectLookupParameters from error
        # The theme has its own button for filters, which the row replaces.
        self.has_filters = False

    def prepare_rows(self, request: HttpRequest, rows: Sequence[Any]) -> None:
        """Let the admin read what its columns show beside the rows, for all of them at once."""
        if prepare := getattr(self.model_admin, "prepare_rows", None):
            prepare(request, rows)

    @cached_property
    def controls(self) -> list[filters.Control]:
        # Only for a page: Django's own filters ask for what a change list has after it was made.
        found = (filters.control_of(spec, self) for spec in self.filter_specs)
        return [each for each in found if each is not None]

    def find_results(self, request: HttpRequest) -> None:
        """Set the rows of the page, and how many there are in all."""
        super().get_results(request)
        self.count_of(self.result_count)
        if self.multi_page:
            last = self.paginator.num_pages
            self.newer_link = self.get_query_string({"p": self.page_num - 1}) if self.page_num > 1 else ""
            self.older_link = self.get_query_string({"p": self.page_num + 1}) if self.page_num < last else ""

    @property
    def usual_controls(self) -> list[filters.Control]:
        return [control for control in self.controls if not control.is_rare]

    @property
    def rare_controls(self) -> list[filters.Control]:
        return [control for control in self.controls if control.is_rare]

    @property
    def is_rarely_filtered(self) -> bool:
        return any(any(control.values) for control in self.rare_controls)

    # Views

    @cached_property
    def standard_views(self) -> list[View]:
        """The views that the list offers to all: `standard_views` of its admin."""
        offered: Mapping[str, str] = getattr(self.model_admin, "standard_views", {})
        mine = {"me": quote(self.reader.user.get_username())}
        return [self.view(name, query.format_map(mine)) for name, query in offered.items()]

    @cached_property
    def saved_views(self) -> list[View]:
        """The reader's own views, and those that others share."""
        reader, administers = self.reader.user.pk, is_administrator(self.reader.user)
        return [
            self.view(
                view.name,
                view.query,
                pk=view.pk,
                shared_by="" if view.owner_id == reader else view.owner.get_username(),
                may_delete=view.owner_id == reader or administers,
            )
            for view in saved_views.visible_to(self.reader, self.opts.label_lower)
        ]

    def view(self, name: str, query: str, **about: Any) -> View:
        return View(name, query, saved_views.clean(query) == self.own_query, **about)

    @cached_property
    def own_query(self) -> str:
        return saved_views.clean(self.get_query_string())

    @property
    def current_view(self) -> str:
        """The name of the view that the reader looks at, "" for none."""
        return next((view.name for view in [*self.standard_views, *self.saved_views] if view.is_current), "")

    @property
    def own_view(self) -> str:
        """The name of the reader's own view that they look at, which saving again replaces."""
        return next((view.name for view in self.saved_views if view.is_current and not view.shared_by), "")

    @property
    def csv_link(self) -> str:
        return f"export.csv?{self.own_query}" if getattr(self.model_admin, "csv_columns", None) else ""

    @property
    def empty_hint(self) -> EmptyHint | None:
        return HINTS.get(self.opts.label_lower)

    def count_of(self, number: int, *, is_complete: bool = True) -> None:
        self.is_counted_to_the_end = is_complete and number <= MOST_COUNTED
        self.result_count = min(number, MOST_COUNTED)
        # Only where a filter or search hides rows does the theme write "x of y".
        self.full_result_count = self.result_count

    @property
    def count_label(self) -> str:
        """How many rows there are: "1 run", "234 runs", "1,000+ runs"."""
        more = "" if self.is_counted_to_the_end else "+"
        noun = self.opts.verbose_name if self.result_count == 1 and not more else self.opts.verbose_name_plural
        return f"{self.result_count:,}{more} {noun}"

    @property
    def chips(self) -> list[dict[str, str]]:
        """The filters that are set, each with the link that removes it."""
        found = []
        for spec in self.filter_specs:
            if chip := filters.chip_of(spec, self):
                found.append({"title": chip.title, "text": chip.text, "link": self.without(*chip.parameters)})
        if self.query:
            found.append({"title": "search", "text": self.query, "link": self.without(SEARCH_VAR)})
        return found

    def without(self, *names: str) -> str:
        """Return the query string without these parameters, and from the first page."""
        return str(self.get_query_string(dict.fromkeys((*names, AFTER, BEFORE))))

    @property
    def hidden_parameters(self) -> list[tuple[str, str]]:
        """What the form of the filter row passes on: the order, and what links from other pages set."""
        controlled = {SEARCH_VAR, AFTER, BEFORE, *PARAMETERS}
        for control in self.controls:
            names = (f"{control.name}_from", f"{control.name}_to") if control.kind == "days" else (control.name,)
            # Django's own filters are links and have no field in the form.
            controlled.update(names if control.kind != "links" else ())
        return self.parameters_without(controlled)

    @property
    def address_parameters(self) -> list[tuple[str, str]]:
        """The filters, search and order of the address, for a form that changes something else."""
        return self.parameters_without({AFTER, BEFORE, *PARAMETERS})

    def parameters_without(self, names: Collection[str]) -> list[tuple[str, str]]:
        return [(name, value) for name, values in self.filter_params.items() if name not in names for value in values]


class KeysetList(RestrictedList):
    """A list sorted by one column at a time, with pages by position. Its columns are never null."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str]:
        first = str(super().get_ordering(request, queryset)[0])
        is_key = first.removeprefix("-") in ("pk", self.opts.pk.name)
        return [first] if is_key else [first, "-pk" if first.startswith("-") else "pk"]

    def find_results(self, request: HttpRequest) -> None:
        order = tuple(map(str, self.queryset.query.order_by))
        rows = self.display.rows
        before, after = request.GET.get(BEFORE, ""), request.GET.get(AFTER, "")
        # Backwards: the rows before a position are the first ones of the opposite order.
        select = getattr(self.model_admin, "select_row", None)
        found, place = select(self.queryset) if select else self.queryset, before or after
        reading = tuple(opposite(name) for name in order) if before else order
        if place:
            found = found.order_by(*reading).filter(listing.beyond(reading, self.read_position(order, place)))
        page = list(found[: rows + 1])
        is_last = len(page) <= rows
        page = page[:rows]
        if before:
            page.reverse()
        self.result_list = page
        self.link_pages(order, is_first=is_last if before else not after, is_last=not before and is_last)
        if is_last and not place:
            self.count_of(len(page))
        elif self.query:
            # To count what a search finds is to look at all rows.
            self.count_of(len(page), is_complete=False)
        else:
            self.count_of(count(self.queryset))
        # What Django's templates ask for.
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all, self.multi_page = False, bool(self.newer_link or self.older_link)
        self.paginator = CappedPaginator(self.queryset, rows)

    @property
    def is_first_page(self) -> bool:
        return not self.first_link

    @property
    def live_rows(self) -> str:
        """What the stream of changes is asked for, so that it sends rows of this page: see `portal.live.row_feed`.

        Empty where it sends none: in another order, or with a filter that depends on the reader.
        """
        name = getattr(self.model_admin, "live_list", "")
        if not name or ORDER_VAR in self.params:
            return ""
        try:
            live_filters.condition_of(self.model_admin, QueryDict(self.own_query))
        except Personal:
            return ""
        return urlencode({"list": name, "shows": self.own_query})

    def link_pages(self, order: tuple[str, ...], *, is_first: bool, is_last: bool) -> None:
        if not self.result_list:
            # Behind the last row, or before the first one, of which some may have gone since.
            self.first_link = "" if is_first else self.without()
            return
        if not is_first:
            self.first_link = self.without()
            self.newer_link = self.link_to(BEFORE, order, self.result_list[0])
        if not is_last:
            self.older_link = self.link_to(AFTER, order, self.result_list[-1])

    def link_to(self, parameter: str, order: tuple[str, ...], row: Any) -> str:
        values = [getattr(row, name.removeprefix("-")) for name in order]
        text = "~".join(value.isoformat() if isinstance(value, datetime) else str(value) for value in values)
        return str(self.get_query_string({AFTER: None, BEFORE: None, parameter: text}))

    def read_position(self, order: tuple[str, ...], text: str) -> list[Any]:
        """Read a position; raises `IncorrectLookupParameters` for anything else."""
        try:
            return listing.read_position(self.model, order, text.rsplit("~", len(order) - 1))
        except (ValueError, ValidationError) as error:
            raise IncorrectLookupParameters from error


def opposite(name: str) -> str:
    return name.removeprefix("-") if name.startswith("-") else f"-{name}"

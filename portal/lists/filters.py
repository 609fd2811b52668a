"""The kinds of filter of a list, and what the row of filters above it shows of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from typing import Any, ClassVar

from django.contrib.admin import ListFilter, ModelAdmin, SimpleListFilter
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

# A choice must stay short enough to read, and cheap enough to build for each page.
MOST_CHOICES = 300
# More values of one filter than anyone chooses.
MOST_VALUES = 50
LONGEST_TEXT = 700
# In place of a day: a saved view of today is about the day on which it is opened.
TODAY = "today"
Choices = Sequence[tuple[str, str]]
FLAGS = {"yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class Option:
    """One choice of a filter; `link` is the list with it."""

    value: str
    label: str
    is_chosen: bool = False
    link: str = ""


@dataclass(frozen=True, slots=True)
class Control:
    """What the filter row shows of one filter; `kind` is the name of its template.

    choice: one of the options; choices: any of them; text: typed; days: a first and a last day; links: Django's own
    filters, whose options are links.
    """

    kind: str
    name: str
    title: str
    options: list[Option] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    placeholder: str = ""
    is_rare: bool = False


@dataclass(frozen=True, slots=True)
class Chip:
    """One filter that is set: what it says, and the query parameters that it consists of."""

    title: str
    text: str
    parameters: tuple[str, ...]


class Personal(Exception):
    """What a list is filtered by depends on its reader."""


class RowFilter(SimpleListFilter):
    """The base: any number of values of one query parameter."""

    parameter_name: str
    title: str
    # Whether it stands behind "More filters".
    is_rare: ClassVar[bool] = False

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: ModelAdmin[Any]) -> None:
        given = params.get(self.parameter_name, [])
        self.values: list[str] = [value for value in given if value][:MOST_VALUES]
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return []

    @classmethod
    def parameters(cls) -> set[str]:
        """Return the names of its query parameters."""
        return {cls.parameter_name}

    @classmethod
    def condition(cls, query: QueryDict) -> Q:
        """Return the condition that a query string sets; raises `Personal` if it depends on the reader."""
        values = [value for value in query.getlist(cls.parameter_name) if value]
        return cls.selects(values[:MOST_VALUES]) if values else Q()

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        """Return the condition for some values, of which there is one at least."""
        raise Personal

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(self.selects(self.values)) if self.values else queryset

    def control(self, changelist: ChangeList) -> Control | None:
        raise NotImplementedError

    def chip(self) -> Chip | None:
        """Return the chip of the filter, or None while it is not set."""
        if not self.values:
            return None
        labels = {str(value): str(label) for value, label in self.lookup_choices}
        text = ", ".join(labels.get(value, value) for value in self.values)
        return Chip(self.title, text, (self.parameter_name,))


def text_of(values: list[str]) -> str:
    """Return what was typed last. Postgres raises an error for NUL in text."""
    return values[-1].replace("\0", "").strip()[:LONGEST_TEXT]


class ChoiceFilter(RowFilter):
    """One of a few values. `every` is the label of no choice."""

    every: ClassVar[str] = "All"

    def control(self, changelist: ChangeList) -> Control:
        chosen = self.value() or ""
        options = [Option(str(value), str(label), str(value) == chosen) for value, label in self.lookup_choices]
        return Control("choice", self.parameter_name, self.title, options, [chosen], placeholder=self.every)


class FlagFilter(ChoiceFilter):
    """Whether a boolean column is true; the labels are those of true and of false."""

    column: ClassVar[str] = ""
    labels: ClassVar[tuple[str, str]] = ("Yes", "No")

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [*zip(FLAGS, self.labels, strict=True)]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        wanted = FLAGS.get(values[-1])
        return Q() if wanted is None else Q(**{cls.column: wanted})


class OfferedFilter(ChoiceFilter):
    """A filter that ignores values it does not offer."""

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: ModelAdmin[Any]) -> None:
        super().__init__(request, params, model, model_admin)
        # An invented value and a hidden one must give the same list, or the filter tells which of them exists.
        offered = {str(value) for value, _ in self.lookup_choices}
        self.values = [value for value in self.values if value in offered]

    def value(self) -> str | None:
        requested = super().value()
        return requested if requested in self.values else None


class ChoicesFilter(RowFilter):
    """Any of a few values."""

    def control(self, changelist: ChangeList) -> Control:
        options = [Option(str(value), str(label), str(value) in self.values) for value, label in self.lookup_choices]
        return Control("choices", self.parameter_name, self.title, options, self.values)


class TextFilter(RowFilter):
    """A typed value; the choices are suggestions."""

    placeholder: ClassVar[str] = ""

    def has_output(self) -> bool:
        return True

    def value(self) -> str:
        return text_of([super().value() or ""])

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(self.selects([self.value()])) if self.value() else queryset

    def control(self, changelist: ChangeList) -> Control:
        options = [Option(str(value), str(label)) for value, label in self.lookup_choices]
        return Control("text", self.parameter_name, self.title, options, [self.value()], placeholder=self.placeholder)


class GivenFilter(ChoiceFilter):
    """A filter set by links from other pages: its only choice is the value in the URL."""

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        # Django leaves out a filter without choices: without a value in the URL this one does not appear.
        given = request.GET.get(self.parameter_name, "")
        return [(given, self.label_of(given))] if given else []

    def label_of(self, given: str) -> str:
        return given

    def control(self, changelist: ChangeList) -> None:  # type: ignore[override]  # as of the base
        """Return nothing: the chip says it, and removes it."""


class DaysFilter(RowFilter):
    """A first and a last day, both included, in the portal's time zone; links may give exact times instead.

    The parameters are `<parameter_name>_from` and `<parameter_name>_to`, and `column` is what they are compared with.
    """

    title = "date"
    column: ClassVar[str] = ""

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: ModelAdmin[Any]) -> None:
        super().__init__(request, params, model, model_admin)
        for name in self.expected_parameters():
            if name in params:
                self.used_parameters[name] = params.pop(name)[-1]

    def has_output(self) -> bool:
        return True

    @classmethod
    def parameters(cls) -> set[str]:
        return {f"{cls.parameter_name}_from", f"{cls.parameter_name}_to"}

    def expected_parameters(self) -> list[str]:  # type: ignore[override]  # a list of names
        return [f"{self.parameter_name}_from", f"{self.parameter_name}_to"]

    def given(self) -> list[str]:
        return [str(self.used_parameters.get(name) or "").strip() for name in self.expected_parameters()]

    @classmethod
    def condition(cls, query: QueryDict) -> Q:
        return cls.between(query.get(f"{cls.parameter_name}_from", ""), query.get(f"{cls.parameter_name}_to", ""))

    @classmethod
    def between(cls, first: str, last: str) -> Q:
        found, column = Q(), cls.column or cls.parameter_name
        if since := moment(first):
            found &= Q(**{f"{column}__gte": since})
        if until := moment(last, is_end=True):
            found &= Q(**{f"{column}__lt": until})
        return found

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(self.between(*self.given()))

    def control(self, changelist: ChangeList) -> Control:
        # A time shows as its day; one that is not a time shows as nothing, because it filters nothing.
        today = timezone.localdate().isoformat()
        shown = [value.replace(TODAY, today)[:10] if moment(value) else "" for value in self.given()]
        return Control("days", self.parameter_name, self.title, values=shown)

    def chip(self) -> Chip | None:
        first, last = (value if moment(value) else "" for value in self.given())
        if not first and not last:
            return None
        text = f"{first} to {last}" if first and last else f"from {first}" if first else f"up to {last}"
        return Chip(self.title, text, tuple(self.expected_parameters()))


def moment(text: str, *, is_end: bool = False) -> datetime | None:
    """Read a day or a time of a query string, None if it is neither; the end of a day is the next midnight."""
    if text == TODAY:
        return midnight(timezone.localdate() + timedelta(days=is_end))
    try:
        if day := read_day(text):
            return midnight(day + timedelta(days=1) if is_end else day)
        at = parse_datetime(text)
    except (ValueError, OverflowError):
        return None
    if at is None:
        return None
    return at if timezone.is_aware(at) else timezone.make_aware(at)


def read_day(text: str) -> date | None:
    return parse_date(text) if len(text) == 10 else None


def midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


def control_of(spec: ListFilter, changelist: ChangeList) -> Control | None:
    """Return what the row shows of a filter, also of one of Django's own."""
    if isinstance(spec, RowFilter):
        control = spec.control(changelist)
        return replace(control, is_rare=True) if control and spec.is_rare else control
    options = [
        Option("", str(choice["display"]), bool(choice["selected"]), str(choice["query_string"]))
        for choice in spec.choices(changelist)
        if "query_string" in choice
    ]
    chosen = [option.label for option in options[1:] if option.is_chosen]
    return Control("links", "", str(spec.title), options, chosen)


def chip_of(spec: ListFilter, changelist: ChangeList) -> Chip | None:
    """Return the chip of a filter that is set."""
    if isinstance(spec, RowFilter):
        return spec.chip()
    control = control_of(spec, changelist)
    parameters = [name for name in spec.expected_parameters() if name]
    return Chip(str(spec.title), control.values[0], tuple(parameters)) if control and control.values else None

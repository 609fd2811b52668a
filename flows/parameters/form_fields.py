"""The parts of a parameter form: one input, a group of parts, rows of alike parts; each collects what was typed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django import forms
from django.utils.safestring import SafeString

from flows import canonical
from flows.parameters.coercion import Slot, Unreadable, keep_json
from flows.parameters.field_types import CHOICE, FLAG, JSON, Kind
from flows.parameters.schema import MISSING, Path
from flows.parameters.widgets import BOX, Tick, show_again

# A value, or MISSING where none is to be sent, and whether the reader changed it.
type Collected = tuple[Any, bool]
type AnyPart = Leaf | Group | Rows

NOT_EMPTY = "This field cannot be empty."


class PartError(NamedTuple):
    """An error shown beside an input."""

    code: str
    message: str


class RawField(forms.Field):
    """Takes whatever was typed, and has no opinion: the judge of values is not Django."""

    def __init__(self, keep: Callable[[str], str] | None = None, **options: Any) -> None:
        super().__init__(required=False, **options)
        self.keep = keep

    def bound_data(self, data: Any, initial: Any) -> Any:
        if data is None:
            return initial
        return self.keep(data) if self.keep else data


@dataclass(kw_only=True, eq=False)
class FormPart:
    """A place in the values, its words, and the value it began with."""

    form: forms.Form
    path: Path
    name: str
    slot: Slot
    is_required: bool
    # What the deployment or the caller gives. A default that only the schema gives is shown, but not sent.
    given: Any
    errors: list[PartError] = field(default_factory=list)

    @property
    def label(self) -> str:
        title, last = self.slot.node.get("title"), self.path[-1]
        return f"{title or 'Item'} {last + 1}" if isinstance(last, int) else title or last

    @property
    def help(self) -> str:
        return self.slot.node.get("description") or ""

    @property
    def html_name(self) -> str:
        return self.form.add_prefix(self.name)

    @property
    def id(self) -> str:
        return f"id_{self.html_name}"

    @property
    def described_by(self) -> str:
        """The ids of the help and the errors that are there."""
        return " ".join(f"{self.id}_{kind}" for kind, words in (("help", self.help), ("errors", self.errors)) if words)

    @property
    def is_marked(self) -> bool:
        return self.is_required and not self.slot.is_nullable

    def untouched(self) -> Any:
        """What is meant by leaving everything as it was."""
        nothing = self.given is MISSING and self.slot.shown is MISSING
        return None if nothing and self.is_required and self.slot.is_nullable else self.given

    def tick(self, suffix: str, label: str, *, is_on: bool = False) -> forms.BoundField:
        """A box of the form's own, which is no value."""
        name = f"{self.name}-{suffix}"
        self.form.fields[name] = RawField(widget=Tick(), label=label, initial="true" if is_on else "false")
        return self.form[name]


@dataclass(kw_only=True, eq=False)
class Leaf(FormPart):
    """One input."""

    kind: Kind
    suggestions: Sequence[str] = ()
    template = "flows/parameters/leaf.html"

    def __post_init__(self) -> None:
        shown = self.kind.show(self.slot.shown, self.slot)
        widget = self.kind.widget(self.slot, shown if isinstance(shown, str) else "")
        if self.is_marked:
            widget.attrs["aria-required"] = "true"
        if self.suggestions:
            widget.attrs["list"] = f"{self.id}_suggestions"
        keep = (lambda raw: keep_json(raw, self.slot)) if self.kind is JSON else None
        self.form.fields[self.name] = RawField(keep, widget=widget, initial=shown, label=self.label)
        self.bound = self.form[self.name]

    @property
    def help(self) -> str:
        words = [super().help, self.kind.hint(self.slot)]
        if self.slot.is_secret and self.given not in (MISSING, None):
            words.append("A value is stored. Blank = keep it.")
        elif self.kind in (FLAG, CHOICE):
            pass  # their empty choice says itself what it means
        elif self.slot.is_nullable and (self.is_required or self.slot.shown not in (MISSING, None)):
            words.append("Blank = none.")
        elif not self.is_required and self.slot.shown is MISSING:
            words.append("Blank = the flow's default.")
        return " ".join(filter(None, words))

    @property
    def input(self) -> SafeString:
        attrs = {"aria-describedby": self.described_by, "aria-invalid": "true" if self.errors else ""}
        if self.errors:
            show_again(self.bound.field.widget, self.bound.data)
        return self.bound.as_widget(attrs={name: value for name, value in attrs.items() if value})

    @property
    def is_box(self) -> bool:
        return isinstance(self.bound.field.widget, Tick)

    def at(self, path: Path) -> tuple[FormPart, Path]:
        return self, path

    def collect(self) -> Collected:
        widget, raw, shown = self.bound.field.widget, self.bound.data, self.bound.initial
        if widget.value_omitted_from_data(self.form.data, self.form.files, self.html_name) or _alike(raw, shown):
            return self.untouched(), False
        if not raw:
            return self._emptied(), True
        try:
            value = self.kind.read(raw, self.slot)
            # Browsers spell dates and numbers in their own way: only another meaning is a change.
            if shown and canonical.same(value, self.kind.read(shown, self.slot)):
                return self.untouched(), False
        except Unreadable as refusal:
            self.errors.append(PartError(refusal.code, str(refusal)))
            return MISSING, True
        return value, True

    def _emptied(self) -> Any:
        if self.slot.is_nullable:
            return None
        if self.kind.emptied is MISSING:
            self.errors.append(PartError("parameter.empty", NOT_EMPTY))
        return self.kind.emptied


@dataclass(kw_only=True, eq=False)
class Group(FormPart):
    """Parts under one heading: a nested model, or one row of a list of them."""

    children: dict[str, AnyPart]
    template = "flows/parameters/group.html"

    def __post_init__(self) -> None:
        self.switch = self.tick("given", "Set this value", is_on=self.is_shown) if self.slot.is_nullable else None

    @property
    def is_shown(self) -> bool:
        return isinstance(self.slot.shown, dict)

    def at(self, path: Path) -> tuple[FormPart, Path]:
        return self.children[str(path[0])].at(path[1:]) if path and path[0] in self.children else (self, path)

    def collect(self) -> Collected:
        # What the form has no input for stays as it is, for the judge to see.
        kept = self.slot.shown if self.is_shown else {}
        values = {name: value for name, value in kept.items() if name not in self.children}
        is_touched = False
        for name, child in self.children.items():
            value, was_touched = child.collect()
            is_touched = is_touched or was_touched
            if value is not MISSING:
                values[name] = value
        if self.is_shown and not self._is_wanted:
            return None, True
        if is_touched or (self._is_wanted and not self.is_shown):
            return values, True
        # Sent even if empty, so that what is missing in it is said beside each input.
        if self.is_marked and self.slot.shown is MISSING:
            return values, False
        return self.untouched(), False

    @property
    def _is_wanted(self) -> bool:
        if self.switch is None or self.switch.html_name not in self.form.data:
            return self.is_shown
        return bool(self.switch.data == "true")


@dataclass(kw_only=True, eq=False)
class Rows(FormPart):
    """A list, one part a row; rows left blank are not sent."""

    rows: list[AnyPart]
    wants_more: bool
    template = "flows/parameters/rows.html"
    box = BOX

    def __post_init__(self) -> None:
        self.sent: list[AnyPart] = []
        existing = len(self.slot.shown) if isinstance(self.slot.shown, list) else 0
        removals = [self.tick(f"{index}-remove", "Remove") for index in range(existing)]
        self.numbered = [(row, removals[index] if index < existing else None) for index, row in enumerate(self.rows)]

    def at(self, path: Path) -> tuple[FormPart, Path]:
        if path and isinstance(path[0], int) and path[0] < len(self.sent):
            return self.sent[path[0]].at(path[1:])
        return self, path

    def collect(self) -> Collected:
        values, is_touched = [], False
        for row, removal in self.numbered:
            if removal is not None and removal.data == "true":
                is_touched = True
                continue
            value, was_touched = row.collect()
            if value is not MISSING or row.errors:
                values.append(None if value is MISSING else value)
                self.sent.append(row)
                is_touched = is_touched or was_touched
        return (values, True) if is_touched else (self.untouched(), False)


def _alike(typed: Any, shown: Any) -> bool:
    """Whether nothing was typed: browsers change line ends, and ticks have no order."""
    if isinstance(typed, str):
        return typed.replace("\r\n", "\n") == str(shown or "").replace("\r\n", "\n").replace("\r", "\n")
    return sorted(typed or ()) == sorted(shown or ())

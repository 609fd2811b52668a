"""The parts of a parameter form: an input, a group, rows. Each collects the values that were typed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django import forms
from django.utils.safestring import SafeString

from flows import canonical
from flows.parameters.coercion import Slot, Unreadable, redisplay_json
from flows.parameters.field_types import CHOICE, FLAG, JSON, OPEN, Kind
from flows.parameters.messages import example_of, spelled
from flows.parameters.schema import MISSING, Path
from flows.parameters.widgets import BOX, Tick, allow_redisplay

# A value, or MISSING where none is to be sent, and whether the user changed it.
type Collected = tuple[Any, bool]
type AnyPart = Leaf | Group | Rows

NOT_EMPTY = "This field cannot be empty."


class PartError(NamedTuple):
    """An error displayed beside an input."""

    code: str
    message: str


class RawField(forms.Field):
    """A field without validation of its own: `validate()` decides about values, not Django."""

    def __init__(self, redisplay: Callable[[str], str] | None = None, **options: Any) -> None:
        super().__init__(required=False, **options)
        self.redisplay = redisplay

    def bound_data(self, data: Any, initial: Any) -> Any:
        if data is None:
            return initial
        return self.redisplay(data) if self.redisplay else data


@dataclass(kw_only=True, eq=False)
class FormPart:
    """A place in the values, with its label, its help and its initial value."""

    form: forms.Form
    path: Path
    name: str
    slot: Slot
    is_required: bool
    # From the deployment or the caller. A default that is only in the schema is displayed, but not sent.
    given: Any
    # Where from Prefect fills in what is left blank; empty where it does not.
    source: str = ""
    errors: list[PartError] = field(default_factory=list)

    @property
    def label(self) -> str:
        title, last = self.slot.node.get("title"), self.path[-1]
        return f"{title or 'Item'} {last + 1}" if isinstance(last, int) else title or last

    @property
    def help(self) -> str:
        words = f"Left blank, Prefect fills it in {self.source}." if self.source else ""
        return " ".join(filter(None, [self.slot.node.get("description"), words]))

    @property
    def html_name(self) -> str:
        return self.form.add_prefix(self.name)

    @property
    def id(self) -> str:
        return f"id_{self.html_name}"

    @property
    def described_by(self) -> str:
        """The ids of the elements with the help and the errors, for `aria-describedby`."""
        return " ".join(f"{self.id}_{kind}" for kind, words in (("help", self.help), ("errors", self.errors)) if words)

    @property
    def is_marked(self) -> bool:
        return self.is_required and not self.slot.is_nullable

    def untouched(self) -> Any:
        """Return the value to send when nothing was changed, or MISSING."""
        # A required parameter without any default gets null if that is allowed: sending nothing would be refused.
        nothing = self.given is MISSING and self.slot.displayed is MISSING
        return None if nothing and self.is_required and self.slot.is_nullable else self.given

    def tick(self, suffix: str, label: str, *, is_on: bool = False) -> forms.BoundField:
        """Add a checkbox that controls the form and is not a value."""
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
        displayed = self.kind.show(self.slot.displayed, self.slot)
        widget = self.kind.widget(self.slot, displayed if isinstance(displayed, str) else "")
        if self.is_marked:
            widget.attrs["aria-required"] = "true"
        if self.suggestions:
            widget.attrs["list"] = f"{self.id}_suggestions"
        redisplay = (lambda raw: redisplay_json(raw, self.slot)) if self.kind in (JSON, OPEN) else None
        self.form.fields[self.name] = RawField(redisplay, widget=widget, initial=displayed, label=self.label)
        self.bound = self.form[self.name]

    @property
    def help(self) -> str:
        words = [super().help, self.kind.hint(self.slot)]
        example = example_of(self.slot.node)
        # Not twice, where the description has it already; a secret has no example that is worth copying.
        if example and not self.slot.is_secret and example not in words[0]:
            words.append(f"For example {spelled(example)}.")
        if self.slot.is_secret and self.given not in (MISSING, None):
            words.append("A value is stored. Blank = keep it.")
        elif self.kind in (FLAG, CHOICE) or self.source:
            pass  # the label of their empty choice, or the source, says what it means
        elif self.slot.is_nullable and (self.is_required or self.slot.displayed not in (MISSING, None)):
            words.append("Blank = none.")
        elif not self.is_required and self.slot.displayed is MISSING:
            words.append("Blank = the flow's default.")
        return " ".join(filter(None, words))

    @property
    def input(self) -> SafeString:
        attrs = {"aria-describedby": self.described_by, "aria-invalid": "true" if self.errors else ""}
        if self.errors:
            allow_redisplay(self.bound.field.widget, self.bound.data)
        return self.bound.as_widget(attrs={name: value for name, value in attrs.items() if value})

    @property
    def is_box(self) -> bool:
        return isinstance(self.bound.field.widget, Tick)

    def at(self, path: Path) -> tuple[FormPart, Path]:
        return self, path

    def collect(self) -> Collected:
        """Return the typed value, or `untouched()` if the input was not changed. Adds an error if it cannot be read."""
        # 1. Not sent, or sent as it was displayed: unchanged, so that a default stays a default.
        widget, raw, displayed = self.bound.field.widget, self.bound.data, self.bound.initial
        if widget.value_omitted_from_data(self.form.data, self.form.files, self.html_name) or _alike(raw, displayed):
            return self.untouched(), False
        # 2. Emptied by the user.
        if not raw:
            return self._emptied(), True
        # 3. Typed.
        try:
            value = self.kind.read(raw, self.slot)
            # Browsers reformat dates and numbers: only another meaning is a change.
            if displayed and canonical.same(value, self.kind.read(displayed, self.slot)):
                return self.untouched(), False
        except Unreadable as refusal:
            self.errors.append(PartError(refusal.code, str(refusal)))
            return MISSING, True
        return value, True

    def _emptied(self) -> Any:
        if self.slot.is_nullable:
            return None
        # An input cannot tell an empty text from nothing: where a value is required, it counts as nothing.
        if self.kind.emptied is MISSING or (self.kind.emptied == "" and self.is_required):
            self.errors.append(PartError("parameter.empty", NOT_EMPTY))
            return MISSING
        return self.kind.emptied


@dataclass(kw_only=True, eq=False)
class Group(FormPart):
    """Parts under one heading: a nested model, or one row of a list of models."""

    children: dict[str, AnyPart]
    template = "flows/parameters/group.html"

    def __post_init__(self) -> None:
        self.switch = self.tick("given", "Set this value", is_on=self.is_shown) if self.slot.is_nullable else None

    @property
    def is_shown(self) -> bool:
        return isinstance(self.slot.displayed, dict)

    def at(self, path: Path) -> tuple[FormPart, Path]:
        return self.children[str(path[0])].at(path[1:]) if path and path[0] in self.children else (self, path)

    def collect(self) -> Collected:
        """Return the object of the children's values, or `untouched()` if none was changed."""
        # 1. Keys without an input stay in the value, so that validation sees them.
        current = self.slot.displayed if self.is_shown else {}
        values = {name: value for name, value in current.items() if name not in self.children}
        is_touched = False
        for name, child in self.children.items():
            value, was_touched = child.collect()
            is_touched = is_touched or was_touched
            if value is not MISSING:
                values[name] = value
        # 2. The switch of an optional group decides between null and an object.
        if self.is_shown and not self._is_wanted:
            return None, True
        if is_touched or (self._is_wanted and not self.is_shown):
            return values, True
        # 3. A required group is sent even if empty, so that each missing input gets its own error.
        if self.is_marked and self.slot.displayed is MISSING:
            return values, False
        return self.untouched(), False

    @property
    def _is_wanted(self) -> bool:
        if self.switch is None or self.switch.html_name not in self.form.data:
            return self.is_shown
        return bool(self.switch.data == "true")


@dataclass(kw_only=True, eq=False)
class Rows(FormPart):
    """A list, one part per row; blank rows are not sent."""

    rows: list[AnyPart]
    wants_more: bool
    template = "flows/parameters/rows.html"
    box = BOX

    def __post_init__(self) -> None:
        # The rows behind the collected items: removed and blank rows shift the indexes that errors refer to.
        self.sent: list[AnyPart] = []
        existing = len(self.slot.displayed) if isinstance(self.slot.displayed, list) else 0
        removals = [self.tick(f"{index}-remove", "Remove") for index in range(existing)]
        self.numbered = [(row, removals[index] if index < existing else None) for index, row in enumerate(self.rows)]

    def at(self, path: Path) -> tuple[FormPart, Path]:
        if path and isinstance(path[0], int) and path[0] < len(self.sent):
            return self.sent[path[0]].at(path[1:])
        return self, path

    def collect(self) -> Collected:
        """Return the list without removed and blank rows, or `untouched()` if no row was changed."""
        values, is_touched = [], False
        for row, removal in self.numbered:
            if removal is not None and removal.data == "true":
                is_touched = True
                continue
            value, was_touched = row.collect()
            # A row that cannot be read keeps its place with null, so that later errors hit the right rows.
            if value is not MISSING or row.errors:
                values.append(None if value is MISSING else value)
                self.sent.append(row)
                is_touched = is_touched or was_touched
        return (values, True) if is_touched else (self.untouched(), False)


def _alike(typed: Any, displayed: Any) -> bool:
    """Return whether the input is unchanged: browsers rewrite line breaks, and checkboxes have no order."""
    if isinstance(typed, str):
        return typed.replace("\r\n", "\n") == str(displayed or "").replace("\r\n", "\n").replace("\r", "\n")
    return sorted(typed or ()) == sorted(displayed or ())

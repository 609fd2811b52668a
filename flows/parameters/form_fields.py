"""The parts of a parameter form: an input, a group, rows. Each collects the values that were typed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flows import canonical
from flows.parameters import widgets
from flows.parameters.choices import MOST_SELECTABLE
from flows.parameters.coercion import Unreadable, redisplay_json
from flows.parameters.field_types import (
    CHOICE,
    FLAG,
    JSON,
    OPEN,
    SEARCHED,
    SECRET,
    TEXT,
    Kind,
    add_line,
    allows_empty,
    blank_label,
)
from flows.parameters.finder import Finder
from flows.parameters.form_part import NOT_SET, REQUIRED, Collected, FormPart, PartError
from flows.parameters.messages import choice_labels, example_of, spelled
from flows.parameters.schema import MISSING, Path
from flows.parameters.widgets import Area, Entry, Offer

type AnyPart = Leaf | Group | Rows


@dataclass(kw_only=True, eq=False)
class Leaf(FormPart):
    """One input."""

    kind: Kind
    # Offered while typing.
    suggestions: Sequence[Any] = ()
    # The only values, where they are known.
    offered: Sequence[Any] = ()
    # The input that finds a choice and adds it to a list.
    finder: Finder | None = None

    def __post_init__(self) -> None:
        displayed = self.kind.show(self.slot.displayed, self.slot)
        text = displayed if isinstance(displayed, str) else ""
        widget = self.kind.widget(self.slot, text)
        options = self._options() if isinstance(widget, Entry | Area) else {}
        # Browsers offer suggestions at inputs, not at text areas.
        if self.kind is TEXT and (self.suggestions or options):
            widget = widgets.entry("text", text)
        if isinstance(widget, Entry) and not options and (self.suggestions or self.kind is SEARCHED):
            widget.attributes["list"] = f"{self.id}_suggestions"
        if self.kind is SEARCHED:
            widget.attributes["data-choices"] = self.name
        if options:
            widget = Offer({}, options, blank_label(self.slot, text), other=widget)
        else:
            self.offer_empty(self.kind.emptied, self.html_name)
        if self.is_marked:
            widget.attributes["aria-required"] = "true"
        if self.empty is not None and isinstance(widget, Entry | Area):
            widget.attributes["placeholder"] = NOT_SET
        redisplay = (lambda raw: redisplay_json(raw, self.slot)) if self.kind in (JSON, OPEN) else None
        self.input = self.inputs.add(self.name, widget, displayed, redisplay=redisplay)
        if self.finder and (added := self.finder.added):
            self.input = replace(self.input, typed=add_line(self.input.displayed, added, self.slot))

    def _options(self) -> dict[str, str]:
        """Return the only values by their text, with labels; empty where an input must do."""
        if not self.slot.scalar_types or self.slot.is_secret or len(self.offered) > MOST_SELECTABLE:
            return {}
        shown = {self.kind.show(value, self.slot): value for value in self.offered}
        try:
            is_readable = all(text and canonical.same(self.kind.read(text, self.slot), shown[text]) for text in shown)
        except Unreadable:
            return {}
        return dict(zip(shown, choice_labels(list(shown.values())), strict=True)) if is_readable else {}

    @property
    def help(self) -> str:
        words = [super().help, self.kind.hint(self.slot)]
        example = example_of(self.slot.node)
        # Not twice, where the description has it already; a secret has no example that is worth copying.
        if example and not self.slot.is_secret and example not in words[0]:
            words.append(f"For example {spelled(example)}.")
        if self.kind is SECRET and self.input.typed:
            words.append("Enter it again: a secret is never shown.")
        if self.slot.is_secret and self.given not in (MISSING, None):
            words.append("A value is stored. Blank = keep it.")
        elif self.kind not in (FLAG, CHOICE):  # the label of their empty choice says what it means
            words.append(self.blank_help or self._emptied_help)
        return " ".join(filter(None, words))

    def at(self, path: Path) -> tuple[FormPart, Path]:
        return self, path

    def collect(self) -> Collected:
        """Return the typed value, or `untouched()` if the input was not changed. Adds an error if it cannot be read."""
        # 1. Not sent, or sent as it was displayed: unchanged, so that a default stays a default.
        raw, displayed = self.input.typed, self.input.initial
        if not self.input.is_submitted:
            return self.untouched(), False
        # 2. Blank.
        if not raw:
            return self.collect_blank(self.kind.emptied, is_emptied=bool(displayed))
        if _alike(raw, displayed):
            return self.untouched(), False
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

    @property
    def _emptied_help(self) -> str:
        emptied = self.kind.emptied
        is_said = self.empty is not None or self.slot.displayed in (MISSING, emptied) or self.slot.is_secret
        if is_said or emptied is MISSING or not allows_empty(self.slot, emptied):
            return ""
        return "Blank = an empty list." if emptied == [] else "Blank = an empty text."


@dataclass(kw_only=True, eq=False)
class Group(FormPart):
    """Parts under one heading: a nested model, or one row of a list of models."""

    children: dict[str, AnyPart]

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
        # 2. The switch of an optional group decides between null and an object: its inputs are hidden while it is off.
        if not self._is_wanted:
            return (None, True) if self.is_shown else (self.untouched(), False)
        if is_touched or (self.switch is not None and not self.is_shown):
            return values, True
        # 3. A required group is sent even if empty, so that each missing input gets its own error.
        if self.is_marked and self.slot.displayed is MISSING:
            return values, False
        return self.untouched(), False

    @property
    def _is_wanted(self) -> bool:
        if self.switch is None:
            return True
        return self.switch.typed == "true" if self.switch.is_submitted else self.is_shown


@dataclass(kw_only=True, eq=False)
class Rows(FormPart):
    """A list, one part per row. Every row that is there is sent, blank or not."""

    # By the index in the displayed list; added rows have higher ones. Removing a row leaves the others' names alone.
    rows: dict[int, AnyPart]
    added: int | None = None
    is_full: bool = False

    def __post_init__(self) -> None:
        # The rows behind the collected items: removed rows shift the indexes that errors refer to.
        self.sent: list[AnyPart] = []
        self.offer_empty([], f"{self.html_name}-rows")

    @property
    def help(self) -> str:
        return " ".join(filter(None, [super().help, self.blank_help.replace("Blank", "No rows")]))

    @property
    def noun(self) -> str:
        return str(self.slot.item.node.get("title") or "item")

    def at(self, path: Path) -> tuple[FormPart, Path]:
        if path and isinstance(path[0], int) and path[0] < len(self.sent):
            return self.sent[path[0]].at(path[1:])
        return self, path

    def collect(self) -> Collected:
        """Return the list of the rows, or `untouched()` if no row was changed, added or removed."""
        existing = len(self.slot.displayed) if isinstance(self.slot.displayed, list) else 0
        if not self.rows:
            return self.collect_blank([], is_emptied=existing > 0)
        values, is_touched = [], list(self.rows) != list(range(existing))
        for row in self.rows.values():
            value, was_touched = row.collect()
            if value is MISSING and not row.errors:  # a new row left as it was displayed
                value = row.slot.displayed
                row.errors += [REQUIRED] if value is MISSING else []
            # A row that cannot be read keeps its place with null, so that later errors hit the right rows.
            values.append(None if value is MISSING else value)
            self.sent.append(row)
            is_touched = is_touched or was_touched
        return (values, True) if is_touched else (self.untouched(), False)


def _alike(typed: Any, displayed: Any) -> bool:
    """Return whether the input is unchanged: browsers rewrite line breaks, and checkboxes have no order."""
    if isinstance(typed, str):
        return typed.replace("\r\n", "\n") == str(displayed or "").replace("\r\n", "\n").replace("\r", "\n")
    return sorted(typed or ()) == sorted(displayed or ())

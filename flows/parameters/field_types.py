"""The kinds of parameters: the input of each, its display, how it is read, and what an empty input means."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any

from django.utils import timezone

from flows.parameters import coercion, widgets
from flows.parameters.choices import MOST_SELECTABLE, first_choices, read_searched, show_searched, typable
from flows.parameters.coercion import Slot, Unreadable
from flows.parameters.formats import fits
from flows.parameters.messages import KINDS as WORDS
from flows.parameters.messages import choice_labels, one_of, spelled
from flows.parameters.open_text import is_open, read_open, show_open
from flows.parameters.schema import MISSING
from flows.parameters.walk import types_of

# Up to this many choices a list of fixed choices is a group of checkboxes.
TICKABLE = 12
MOST_LISTED = 20  # choices in the help of one field
# A text of at most so many characters is one line.
LONGEST_LINE = 100


@dataclass(frozen=True)
class Kind:
    """How values of one kind are entered, read and displayed."""

    widget: Callable[[Slot, str], widgets.Widget]
    read: Callable[[Any, Slot], Any] = coercion.read_text
    show: Callable[[Any, Slot], Any] = coercion.show_plain
    hint: Callable[[Slot], str] = lambda slot: ""
    # The value of an input that was emptied; MISSING: it must not be empty.
    emptied: Any = MISSING


def entry(kind: str, **attributes: Any) -> Callable[[Slot, str], widgets.Widget]:
    return lambda slot, displayed: widgets.entry(kind, displayed, **attributes)


def flag(slot: Slot, displayed: str) -> widgets.Widget:
    """A checkbox has no third state, so without a value to display, or where null is allowed, it is a select."""
    if displayed in ("true", "false") and not slot.is_nullable:
        return widgets.Tick()
    return widgets.Choice({}, {"true": "Yes", "false": "No"}, "Not set" if slot.is_nullable else "Choose…")


def choice(slot: Slot, displayed: str) -> widgets.Widget:
    return widgets.Choice({}, labels(slot), blank_label(slot, displayed))


def blank_label(slot: Slot, displayed: str) -> str | None:
    """Return the label of the empty choice of a select, None where there must be none."""
    return "Not set" if slot.is_nullable else "Choose…" if not displayed else None


def labels(slot: Slot) -> dict[str, str]:
    return dict(zip(slot.choices, choice_labels(list(slot.choices.values())), strict=True))


def text_area(slot: Slot, displayed: str) -> widgets.Widget:
    """A text may have many lines, unless the schema says that it is short or has a form."""
    is_line = slot.node.get("pattern") or slot.node.get("format") or slot.node.get("maxLength", inf) <= LONGEST_LINE
    return widgets.entry("text", displayed) if is_line else widgets.growing_area(displayed)


def allows_empty(slot: Slot, emptied: str | list[Any]) -> bool:
    """Return whether an empty text or list can be valid. A blank secret always means the stored one."""
    if isinstance(emptied, list):
        return not slot.node.get("minItems")
    texts = [form for form in slot.forms if "string" in types_of(form)]
    return not slot.is_secret and any(
        not form.get("minLength") and "format" not in form and fits(form.get("pattern", ""), "") is not False
        for form in texts
    )


def show_lines(value: Any, slot: Slot) -> str:
    """Return one item per line if that reads back as the same items, else JSON."""
    if value == []:
        return ""
    if isinstance(value, list):
        kind, item = line_kind(slot.item), slot.item
        text = "\n".join(kind.show(one, item) for one in value)
        # Items with line breaks or outer spaces, and a first item that begins with "[", would read back differently.
        if json.dumps(read_lines(text, slot)) == json.dumps(value):
            return text
    return coercion.show_json(value, slot)


def read_lines(raw: str, slot: Slot) -> Any:
    # Both notations are accepted; text that only begins like JSON is read as lines.
    text = raw.strip()
    if text.startswith("["):
        with suppress(Unreadable):
            return coercion.parse(text)
    kind, item = line_kind(slot.item), slot.item
    return [kind.read(line.strip(), item) for line in text.replace("\r\n", "\n").split("\n") if line.strip()]


def line_kind(item: Slot) -> Kind:
    """Return the kind of one line: a choice is typed in full there, however few there are."""
    return SEARCHED if item.choices else kind_of(item)


def add_line(text: str, code: str, slot: Slot) -> str:
    """Return the text of a list with one more choice, as JSON where the list is JSON or would be read as such."""
    lines = text.replace("\r\n", "\n").rstrip()
    if (lines or code).lstrip().startswith("["):
        with suppress(Unreadable):
            return coercion.spell([*(coercion.parse(lines) if lines else []), slot.item.choices[code]])
    return "\n".join(filter(None, [lines, typable(code)]))


def lines_hint(slot: Slot) -> str:
    offered = [spelled(value) for value, _ in zip(slot.item.choices.values(), range(MOST_LISTED + 1), strict=False)]
    more = len(slot.item.choices) - MOST_LISTED
    some = f"{', '.join(offered[:MOST_LISTED])} and {more:,} more" if more > 0 else one_of(offered)
    return f"One item per line{f': {some}' if offered else ''}."


def ticks_hint(slot: Slot) -> str:
    return "" if slot.node.get("uniqueItems") or len(slot.item.choices) < 2 else "Sent in the order shown here."


def searched_hint(slot: Slot) -> str:
    count, some = len(slot.choices), ", ".join(map(spelled, first_choices(slot, 3)))
    return f"One of {count:,} choices, such as {some}. Pick one from the list while typing, or type it in full."


def scalar_hint(slot: Slot) -> str:
    if len(slot.scalar_types) < 2:
        return ""
    words = one_of([WORDS[kind] for kind in slot.scalar_types])
    return f"{words[0].upper()}{words[1:]}.{QUOTED if 'string' in slot.scalar_types else ''}"


def open_hint(slot: Slot) -> str:
    others = [WORDS[kind] for kind in slot.types if kind in WORDS and kind != "string"]
    return f"Text, or {one_of(others or ['any other value'])} as JSON.{QUOTED}"


def json_hint(slot: Slot) -> str:
    named = [
        f"{form.get('title', 'object')} ({', '.join(form['properties'])})"
        for form in slot.forms
        if form.get("properties")
    ]
    if fixed := slot.node.get("prefixItems"):
        words = [one_of([WORDS[kind] for kind in types_of(slot.schema.effective(one))]) for one in fixed]
        return f"JSON: a list of {', then '.join(words)}."
    return f"JSON: {one_of(named)}." if named else EXAMPLES.get(" ".join(types_of(slot.node)), EXAMPLES[""])


def block_hint(slot: Slot) -> str:
    is_inline = isinstance(slot.displayed, dict) and not coercion.show_block(slot.displayed, slot)
    kept = " A block is spelled out in the deployment; leave empty to keep it." if is_inline else ""
    return f"Name or ID of a saved block.{kept}"


def zone_hint(slot: Slot) -> str:
    return (
        "Without a time zone." if coercion.is_zoneless(slot) else f"Time zone: {timezone.get_current_timezone_name()}."
    )


QUOTED = " A value in quotes is always text."
EXAMPLES = {
    "array": 'JSON list, for example [1, "two"].',
    "object": 'JSON object, for example {"name": "value"}.',
    "": 'JSON, for example 5, "text", [1, 2] or {"name": "value"}.',
}

TEXT = Kind(text_area, emptied="")
NUMBER = Kind(lambda slot, displayed: widgets.number(slot.node, displayed), coercion.read_number, coercion.show_number)
FLAG = Kind(flag, coercion.read_flag)
CHOICE = Kind(choice, coercion.read_choice, coercion.show_choice)
SEARCHED = Kind(entry("text", autocomplete="off"), read_searched, show_searched, searched_hint)
TICKS = Kind(
    lambda slot, displayed: widgets.Ticks({}, labels(slot.item)),
    coercion.read_ticks,
    coercion.show_ticks,
    ticks_hint,
    emptied=[],
)
SECRET = Kind(lambda slot, displayed: widgets.password(), coercion.read_scalar, lambda value, slot: "")
SCALAR = Kind(entry("text"), coercion.read_scalar, coercion.show_scalar, scalar_hint, emptied="")
LINES = Kind(lambda slot, displayed: widgets.area(4), read_lines, show_lines, lines_hint, emptied=[])
BLOCK = Kind(entry("text"), coercion.read_block, coercion.show_block, block_hint)
JSON = Kind(
    lambda slot, displayed: widgets.area(5, spellcheck="false"), coercion.read_json, coercion.show_json, json_hint
)
OPEN = Kind(lambda slot, displayed: widgets.area(5, spellcheck="false"), read_open, show_open, open_hint)

# By type and format; a format without an entry gets the input of its type.
SIMPLE: dict[tuple[str, str], Kind] = {
    ("boolean", ""): FLAG,
    ("integer", ""): NUMBER,
    ("number", ""): NUMBER,
    ("string", ""): TEXT,
    ("string", "date"): Kind(entry("date")),
    ("string", "date-time"): Kind(
        entry("datetime-local", step="any"), coercion.read_moment, coercion.show_moment, zone_hint
    ),
    ("string", "duration"): Kind(entry("text"), hint=lambda slot: "For example PT1H30M, P2D or 01:30:00."),
    ("string", "email"): Kind(entry("email")),
    ("string", "time"): Kind(entry("time", step="any")),
    ("string", "uri"): Kind(entry("url")),
    ("string", "uuid"): Kind(entry("text")),
}


def kind_of(slot: Slot) -> Kind:
    """Return the kind of a value that has one input."""
    # From the most specific to the most general; a secret first, so that no other input ever displays it.
    if slot.is_secret:
        return SECRET if slot.scalar_types else JSON
    if "block_type_slug" in slot.node:
        return BLOCK
    if slot.choices:
        return CHOICE if len(slot.choices) <= MOST_SELECTABLE else SEARCHED
    if len(slot.scalar_types) == 1 and len(slot.forms) == 1:
        kind = slot.scalar_types[0]
        return SIMPLE.get((kind, slot.node.get("format", ""))) or SIMPLE[kind, ""]
    if slot.scalar_types:
        return SCALAR
    if is_open(slot):
        return OPEN
    return list_kind(slot) if types_of(slot.node) == ["array"] and "prefixItems" not in slot.node else JSON


def list_kind(slot: Slot) -> Kind:
    """Return the kind of a list that has one input: checkboxes, lines, or JSON."""
    item = slot.item
    # An empty line cannot stand for null, and lines would display a secret.
    if "items" not in slot.node or item.is_secret or item.is_nullable:
        return JSON
    if item.choices and len(item.choices) <= TICKABLE:
        ticked = coercion.show_ticks(slot.displayed, slot)
        # Checkboxes have neither order nor repetition, so the value must not depend on either.
        if ticked == [code for code in item.choices if code in ticked] or slot.node.get("uniqueItems"):
            return TICKS
    return LINES if item.choices or item.scalar_types else JSON

"""The form for the parameters of a deployment: works without JavaScript, shows each error beside its input."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from django.utils.safestring import SafeString

from flows.parameters.choices import MOST_SELECTABLE, first_choices
from flows.parameters.coercion import Slot, slot
from flows.parameters.earlier_values import Earlier, EarlierNote
from flows.parameters.field_types import CHOICE, LINES, MOST_LISTED, SEARCHED, TICKS, kind_of
from flows.parameters.finder import Finder
from flows.parameters.form_fields import AnyPart, Group, Leaf, Rows
from flows.parameters.form_markup import render_form
from flows.parameters.form_part import Inputs, PartError
from flows.parameters.prefect_markers import left_to_prefect
from flows.parameters.schema import MISSING, Node, Path, Unusable, in_order, prepare
from flows.parameters.secrets import default_of, mask, masked_paths, may_hold_secret
from flows.parameters.values import Invalid, ParameterError, field_name, validate
from flows.parameters.walk import types_of, without_unknown_keys
from flows.parameters.widgets import OTHER, listed
from flows.prefect_api.records import JSON as Json
from flows.wording import plural

# Beyond these limits a form is unusable: the value becomes one JSON input.
MOST_PARTS = 300
MOST_ROWS = 50
DEEPEST = 3
# Choices that a form lists in all, a checkbox counting as several because of its size: those beyond are searched.
MOST_CHOICES = 3_000
CHECKBOX = 8


class ParameterForm:
    """A form that collects parameters and passes them to `validate`.

    `initial` overrides the deployment's defaults, for presets and re-runs; `suggestions` are offered while typing, and
    `offered` are the only values that a parameter can have, as far as is known. Both by field name, oldest first.
    `earlier` is a run whose values stand beside the fields that differ from them.
    After `is_valid()`, `values` are the submitted values and `resolved` those that the run would get.
    A form submitted to add or remove a row is only `partial`, not valid and without errors: display it again.
    """

    def __init__(
        self,
        schema: Mapping[str, Any],
        defaults: Mapping[str, Any],
        data: Mapping[str, Any] | None = None,
        initial: Mapping[str, Any] | None = None,
        prefix: str = "parameters",
        suggestions: Mapping[str, Sequence[Any]] | None = None,
        *,
        offered: Mapping[str, Sequence[Any]] | None = None,
        earlier: Earlier | None = None,
        is_partial: bool = False,
    ) -> None:
        self.schema, self.defaults = schema, defaults
        self.is_bound = data is not None
        self.is_partial = is_partial
        self.values: dict[str, Json] = {}
        self.resolved: dict[str, Json] = {}
        self.notices: list[str] = []
        self.general: list[PartError] = []
        self._inputs = Inputs(prefix, data or {})
        self._suggestions, self._offered = suggestions or {}, offered or {}
        self._earlier = earlier
        self._listed = 0
        self._all: list[AnyPart] = []
        self._is_valid: bool | None = None
        self._left: dict[str, str] = {}
        self.parts: dict[str, AnyPart] = {}
        try:
            self._schema = prepare(schema)
            # A preset or an earlier run may have keys that the flow ignores or has lost; no input could remove them.
            known, unknown = without_unknown_keys(self._schema, dict(initial or {}))
            self.notices += map(_ignored, sorted(map(field_name, unknown)))
            self._left = left_to_prefect(self._schema, known, defaults)
            given = {name: value for name, value in {**defaults, **known}.items() if name not in self._left}
            self.parts = self._children(self._schema.root, (), given)
        except Unusable as error:
            self.general.append(PartError("parameter.schema", str(error)))

    def is_valid(self) -> bool:
        if self._is_valid is None:
            self._is_valid = self.is_bound and not self.general and self._validate()
        return self._is_valid

    def add_errors(self, errors: Iterable[ParameterError]) -> None:
        """Show errors that were found elsewhere beside their inputs."""
        for error in errors:
            self._place(error, ())

    @property
    def errors(self) -> dict[str, list[str]]:
        """Messages by field, named as in `ParameterError.field`; `__all__` for those of no field."""
        return {name: [error.message for error in errors] for name, errors in self._errors().items()}

    @property
    def codes(self) -> dict[str, list[str]]:
        """Codes by field, in the order of the messages in `errors`."""
        return {name: [error.code for error in errors] for name, errors in self._errors().items()}

    def _errors(self) -> dict[str, list[PartError]]:
        self.is_valid()
        named = {field_name(part.path): part.errors for part in self._all if part.errors}
        return {**({"__all__": self.general} if self.general else {}), **named}

    @property
    def summary(self) -> str:
        count = self.error_count
        return f"Fix {plural(count, 'field')} below:" if count else ""

    @property
    def wrong_parts(self) -> list[AnyPart]:
        """The parts with errors; errors that belong to no input are in `general`."""
        return [part for part in self._all if part.errors]

    @property
    def error_count(self) -> int:
        return len(self.wrong_parts)

    @property
    def secret_names(self) -> set[str]:
        """The HTML names of the inputs that can hold a secret."""
        return {
            part.html_name
            for part in self._all
            if isinstance(part, Leaf) and may_hold_secret(part.slot.schema, part.slot.node)
        }

    @property
    def public_names(self) -> set[str]:
        """The HTML names of all other inputs, those that control the form included."""
        rows = {f"{part.html_name}-rows" for part in self._all if isinstance(part, Rows)}
        public = self._inputs.by_name.keys() - self.secret_names
        return public | rows | {f"{name}{OTHER}" for name in public}

    def render(self) -> SafeString:
        self.is_valid()
        for part in self.wrong_parts[:1]:
            part.has_focus = True
        return render_form(
            self.parts.values(), self.wrong_parts, self.general, self.notices, self.summary, self._earlier_notes()
        )

    __str__ = __html__ = render

    def _earlier_notes(self) -> dict[str, EarlierNote]:
        """Return name -> what the earlier run had, for the fields that are no secrets."""
        if self._earlier is None or not self.parts:
            return {}
        values = mask(self.schema, self._earlier.values)
        return {
            name: EarlierNote(self._earlier.title, values.get(name, MISSING), self._current(name))
            for name in self.parts
            if not masked_paths(values.get(name))
        }

    def _current(self, name: str) -> Any:
        """Return the value that a field has now, its default included."""
        part = self.parts[name]
        value = self.values.get(name, MISSING) if self.is_bound else part.given
        return default_of(self._schema, self._schema.properties[name]) if value is MISSING else value

    def _validate(self) -> bool:
        """Fill `values` and `resolved`, and put every error beside its input."""
        # 1. Collect what was typed; inputs that cannot be read have an error now.
        for name, part in self.parts.items():
            value, _ = part.collect()
            if value is not MISSING:
                self.values[name] = value
        unreadable = [part for part in self._all if part.errors]
        # 2. Errors would be about a form that is not finished.
        if self.is_partial:
            for part in unreadable:
                part.errors.clear()
            return False
        # 3. Validate, as every caller does.
        try:
            self.resolved = validate(self.schema, self.values, defaults=self.defaults)
        except Invalid as invalid:
            for error in invalid.errors:
                self._place(error, unreadable)
            return False
        return not unreadable

    def _place(self, error: ParameterError, unreadable: Sequence[AnyPart]) -> None:
        if not error.path or error.path[0] not in self.parts:
            self.general.append(PartError(error.code, str(error)))
            return
        part, rest = self.parts[str(error.path[0])].at(error.path[1:])
        if part in unreadable:  # it was not sent, so it would also count as missing
            return
        where = f"Item {rest[0] + 1}" if len(rest) == 1 and isinstance(rest[0], int) else field_name(rest)
        part.errors.append(PartError(error.code, f"{where}: {error.message}" if rest else error.message))

    def _children(self, node: Node, path: Path, given: Mapping[str, Any]) -> dict[str, AnyPart]:
        return {
            name: self._part(inner, (*path, name), name in node.get("required", ()), given.get(name, MISSING))
            for name, inner in in_order(node["properties"]).items()
        }

    def _part(self, node: Node, path: Path, is_required: bool, given: Any) -> AnyPart:
        """Build the part for one node: a group, rows, or an input."""
        # What Prefect fills in is neither shown nor sent; the help says where it comes from.
        source = self._left.get(str(path[0]), "") if len(path) == 1 else ""
        default = default_of(self._schema, node)
        displayed = MISSING if source else default if given is MISSING else given
        one = slot(self._schema, node, displayed)
        base: dict[str, Any] = {
            "inputs": self._inputs,
            "path": path,
            "name": ".".join(map(_quoted, path)),
            "slot": one,
            "is_required": is_required and not source,
            "source": source,
            "given": given,
            "has_default": default is not MISSING,
        }
        part: AnyPart
        # Schemas may contain themselves (trees): the depth and the number of parts end the recursion.
        if len(path) > DEEPEST or len(self._all) > MOST_PARTS:
            part = self._leaf(one, path, base)
        elif _is_group(one) and (displayed in (MISSING, None) or isinstance(displayed, dict)):
            part = Group(
                **base, children=self._children(one.node, path, displayed if isinstance(displayed, dict) else {})
            )
        elif _is_rows(one):
            part = self._rows(one, path, base)
        else:
            part = self._leaf(one, path, base)
        self._all.append(part)
        return part

    def _leaf(self, one: Slot, path: Path, base: dict[str, Any]) -> Leaf:
        kind, name, finder = kind_of(one), field_name(path), None
        # 1. What is too much for one form is typed.
        if kind is CHOICE and not self._has_room(len(one.choices)):
            kind = SEARCHED
        elif kind is TICKS and not self._has_room(CHECKBOX * len(one.item.choices)):
            kind = LINES
        # 2. What is typed has suggestions, or a search that adds to a list.
        suggestions = self._suggestions.get(name, ())[-MOST_SELECTABLE:]
        if kind is SEARCHED and not suggestions and self._has_room(MOST_LISTED):
            suggestions = first_choices(one, MOST_LISTED)
        if kind is LINES and len(one.item.choices) > MOST_LISTED and self._has_room(2 * MOST_LISTED):
            finder = Finder(self._inputs, base["name"], one)
        leaf = Leaf(**base, kind=kind, suggestions=suggestions, offered=self._offered.get(name, ()), finder=finder)
        if finder and finder.is_used:
            self.is_partial = True
            self.notices += [f"{leaf.label}: {finder.sentence}"] if finder.sentence else []
        return leaf

    def _has_room(self, count: int) -> bool:
        """Count so many more choices, if the form can list them."""
        if self._listed + count > MOST_CHOICES:
            return False
        self._listed += count
        return True

    def _rows(self, one: Slot, path: Path, base: dict[str, Any]) -> Rows:
        displayed = one.displayed if isinstance(one.displayed, list) else []
        html_name, data = self._inputs.html_name(base["name"]), self._inputs.submitted
        indexes = list(range(len(displayed)))
        # 1. The rows that were submitted. Any client can forge them: hence the bounds.
        if f"{html_name}-rows" in data:
            sent = [text for text in listed(data, f"{html_name}-rows") if re.fullmatch("[0-9]{1,3}", text)]
            indexes = list(dict.fromkeys(map(int, sent)))[:MOST_ROWS]
        # 2. The buttons.
        added, removed = None, data.get(f"{html_name}-remove")
        if removed is not None:
            self.is_partial = True
            indexes = [index for index in indexes if str(index) != removed]
        if f"{html_name}-add" in data:
            self.is_partial = True
            if len(indexes) < MOST_ROWS:
                added = max([*indexes, len(displayed) - 1], default=-1) + 1
                indexes.append(added)
        # 3. What was a row of the displayed list keeps its values, secrets included.
        values = {index: displayed[index] if index < len(displayed) else MISSING for index in indexes}
        item = one.node["items"]
        rows = {index: self._part(item, (*path, index), True, value) for index, value in values.items()}
        return Rows(**base, rows=rows, added=added, is_full=len(indexes) >= MOST_ROWS)


def _ignored(name: str) -> str:
    return f"“{name}” was ignored: the deployment does not have it."


def _is_group(one: Slot) -> bool:
    """Return whether inputs for the properties can express every value: no union, no additional keys."""
    node = one.node
    is_closed = not any(key in node for key in ("anyOf", "oneOf", "allOf", "patternProperties"))
    return "properties" in node and is_closed and not node.get("additionalProperties") and not one.is_secret


def _is_rows(one: Slot) -> bool:
    """Return whether a list gets rows: its items are models or secrets, and not too many."""
    if types_of(one.node) != ["array"] or "items" not in one.node or "prefixItems" in one.node or one.is_secret:
        return False
    displayed, item = one.displayed, one.item
    is_short = displayed in (MISSING, None) or (isinstance(displayed, list) and len(displayed) <= MOST_ROWS)
    return is_short and not item.is_nullable and (_is_group(item) or (item.is_secret and bool(item.scalar_types)))


def _quoted(part: str | int) -> str:
    """Quote a name for use in an HTML name, where dots and dashes separate parts."""
    return quote(str(part), safe="").replace(".", "%2E").replace("-", "%2D")

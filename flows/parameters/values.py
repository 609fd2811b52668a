"""Validation of parameter values: the one entry point for forms, the command line and launches."""

import json
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from flows.parameters.prefect_markers import KIND, REFERENCE, left_to_prefect, marker_of
from flows.parameters.schema import MISSING, Path, Schema, Unusable, prepare
from flows.parameters.secrets import default_of
from flows.parameters.validation import find_errors
from flows.parameters.walk import DEEPEST, MOST_VALUES, TOO_DEEP, TOO_MANY, Place, children, root_place
from flows.prefect_api.payload import find_unsendable
from flows.prefect_api.records import JSON

# Prefect refuses as many. Like Prefect, count compact JSON with non-ASCII characters escaped.
LARGEST = 512 * 1024
MOST_ERRORS = 100
# marker -> code and message for a person who enters one.
MARKERS = {
    KIND: (
        "parameter.prefect_kind",
        "Must not contain __prefect_kind: Prefect would resolve it as a variable or template.",
    ),
    REFERENCE: ("parameter.reference", "Must not contain $ref: Prefect would load the block it points to."),
}


@dataclass(frozen=True, slots=True)
class ParameterError:
    """One invalid value: its path, a code of `flows.parameters.messages.CODES`, a message for people."""

    path: Path
    code: str
    message: str

    @property
    def field(self) -> str:
        return field_name(self.path)

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.path else self.message


def field_name(path: Path) -> str:
    """Format a path as `a.b[2]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


class Invalid(Exception):
    """Values that cannot be sent to Prefect, with all their errors."""

    code = "parameters.invalid"
    # Whether the audit trail says so; set by what writes it.
    is_recorded = False

    def __init__(self, *errors: ParameterError) -> None:
        super().__init__(" ".join(map(str, errors)))
        self.errors = errors


def validate(schema: Mapping[str, Any], values: Mapping[str, Any], *, defaults: Mapping[str, Any]) -> dict[str, JSON]:
    """Return what the run would get: the values, else the deployment's defaults, else the flow's. Raises `Invalid`.

    A default is used whole, as in Prefect. Nested values are not completed, because a flow can tell which keys were
    given. A default of the deployment that Prefect fills in from a variable, a template or a block is left out.
    """
    if not isinstance(values, Mapping):
        raise Invalid(ParameterError((), "parameter.type", "The parameters must be an object."))
    # 1. What Prefect would merge.
    given: dict[str, Any] = {**defaults, **values}
    try:
        # 2. Size and depth first: the checks after it walk every value.
        prepared = prepare(schema)
        if refusal := _refuse_unwalkable(given):
            raise Invalid(refusal)
        left = left_to_prefect(prepared, values, defaults)
        given = {name: value for name, value in given.items() if name not in left}
        if errors := _find_errors(_not_requiring(prepared, left), given):
            own = defaults.keys() - values.keys()
            raise Invalid(*(_from_default(error) if error.path and error.path[0] in own else error for error in errors))
        # 3. Add the flow's own defaults, so that approvers see them and conditions of grants apply to them.
        resolved = {**given, **_flow_defaults(prepared, given.keys() | left.keys())}
    except Unusable as error:
        raise Invalid(ParameterError((), "parameter.schema", str(error))) from None
    # 4. The defaults may have made it too large.
    if refusal := _refuse_unwalkable(resolved):
        raise Invalid(refusal)
    # A copy in the order of the signature: callers change what they get, and defaults belong to the cached schema.
    return {name: deepcopy(resolved[name]) for name in (*prepared.properties, *resolved) if name in resolved}


def runnable_as_is(schema: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
    """Return whether a run without any values would be accepted."""
    try:
        validate(schema, {}, defaults=defaults)
    except Invalid:
        return False
    return True


def _from_default(error: ParameterError) -> ParameterError:
    return ParameterError(error.path, error.code, f"{error.message} (From the deployment's defaults.)")


def _refuse_unwalkable(values: dict[str, Any]) -> ParameterError | None:
    """Return an error for values that are too large, too deep or too odd to be checked one by one."""
    try:
        size = len(json.dumps(values, separators=(",", ":")))
    except RecursionError:
        return ParameterError((), "parameter.too_deep", TOO_DEEP)
    except (TypeError, ValueError):
        return ParameterError(
            (),
            "parameter.not_json",
            "The parameters are not plain JSON or contain a number with thousands of digits.",
        )
    if size >= LARGEST:
        return ParameterError(
            (),
            "parameter.too_large",
            f"The parameters are {size / 1024:,.0f} kB; Prefect accepts less than {LARGEST // 1024} kB for one run.",
        )
    waiting: list[tuple[Path, Any]] = [((), values)]
    count = 0
    while waiting:
        path, value = waiting.pop()
        count += len(value)
        if count > MOST_VALUES:
            return ParameterError((), "parameter.too_large", TOO_MANY)
        if len(path) >= DEEPEST:
            return ParameterError(path, "parameter.too_deep", TOO_DEEP)
        if isinstance(value, dict) and not all(isinstance(name, str) and not find_unsendable(name) for name in value):
            return ParameterError(
                path,
                "parameter.not_storable",
                "Contains a key with a character that cannot be stored, such as a null byte.",
            )
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(inner, dict | list):
                waiting.append(((*path, key), inner))
            elif inner is not None and not isinstance(inner, str | int | float):
                return ParameterError((*path, key), "parameter.not_json", "Not a JSON value.")
    return None


def _find_errors(schema: Schema, values: dict[str, Any]) -> list[ParameterError]:
    forbidden = list(islice(_forbidden_values(schema, root_place(schema, values), ()), MOST_ERRORS))
    reported = {error.path for error in forbidden}
    found = [ParameterError(*error) for error in find_errors(schema, values, limit=MOST_ERRORS)]
    order = {name: position for position, name in enumerate(schema.properties)}
    return sorted(
        [*forbidden, *(error for error in found if error.path not in reported)],
        key=lambda error: order.get(str(error.path[0]), -1) if error.path else -1,
    )


def _forbidden_values(schema: Schema, place: Place, path: Path) -> Iterator[ParameterError]:
    """Yield what no schema may allow: what Prefect would act on or fail on, or Postgres cannot store."""
    value = place.value
    if reason := find_unsendable(value):
        yield ParameterError(path, reason.code, reason.sentence)
    elif marker := marker_of(place):
        yield ParameterError(path, *MARKERS[marker])
    if isinstance(value, dict | list):
        for inner in children(schema, place):
            yield from _forbidden_values(schema, inner, (*path, inner.key))


def _not_requiring(schema: Schema, names: Collection[str]) -> Schema:
    required = [name for name in schema.root.get("required", ()) if name not in names]
    return replace(schema, root={**schema.root, "required": required})


def _flow_defaults(schema: Schema, given: Collection[str]) -> dict[str, Any]:
    """Return the flow's own defaults of the parameters that are not given, if they can be sent as in the schema.

    `rows: int = None` has a default that its own type refuses: it is left out, and the flow fills it in itself.
    """
    own: dict[str, Any] = {}
    for name, node in schema.properties.items():
        default = default_of(schema, node)
        # A default that lost a starred secret is incomplete; the flow has the real one.
        if name not in given and default is not MISSING and default == schema.effective(node)["default"]:
            own[name] = default
    if _refuse_unwalkable(own):
        return {}
    forbidden = {error.path[0] for error in _find_errors(schema, own) if error.path}
    return {name: value for name, value in own.items() if name not in forbidden}

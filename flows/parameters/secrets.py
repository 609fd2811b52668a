"""Keeps secret parameters apart: masks them for the eye, and splits them off for the vault."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from flows.parameters.schema import MISSING, Node, Path, Schema, Unusable, prepare
from flows.parameters.walk import DEEPEST, Place, inside, is_misplaced, top
from flows.prefect_api.records import JSON

MASK = "••••••"
# What pydantic writes into a schema in the place of a secret default.
STARS = "**********"


def is_secret(node: Node) -> bool:
    return node.get("writeOnly") is True or node.get("format") == "password"


def hides(place: Place, depth: int) -> bool:
    """Whether a value must not be seen.

    What the schema does not know counts as secret: a run started elsewhere, or before the schema changed, may carry
    a password under a name that the schema no longer has.
    """
    if place.value is None:
        return False
    return not place.is_known or depth > DEEPEST or any(map(is_secret, place.nodes)) or is_misplaced(place)


def without_secrets(schema: Schema, values: dict[str, Any], instead: Callable[[Path, Any], Any]) -> dict[str, Any]:
    """A copy of the values in which `instead` stands wherever a secret was."""
    copy: dict[str, Any] = _copy(schema, top(schema, values), (), instead)
    return copy


def conceal(schema: Schema, node: Node, value: Any, instead: Callable[[Path, Any], Any]) -> Any:
    """The same for one value and the part of the schema that describes it."""
    return _copy(schema, Place("", value, schema.applying([node]), True), (), instead)


def _copy(schema: Schema, place: Place, path: Path, instead: Callable[[Path, Any], Any]) -> Any:
    if hides(place, len(path)):
        return instead(path, place.value)
    copies = {inner.key: _copy(schema, inner, (*path, inner.key), instead) for inner in inside(schema, place)}
    if isinstance(place.value, dict):
        return {name: copy for name, copy in copies.items() if copy is not MISSING}
    if isinstance(place.value, list):  # an empty chair keeps the other items where they are
        return [None if copy is MISSING else copy for copy in copies.values()]
    return place.value


def default_of(schema: Schema, node: Node) -> Any:
    """The default a schema states, or MISSING; a secret in it that pydantic has starred out is left out."""
    default = schema.effective(node).get("default", MISSING)
    if default is MISSING:
        return MISSING
    return conceal(schema, node, default, lambda path, value: MISSING if value == STARS else value)


def mask(schema: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, JSON]:
    """The values as anybody may see them. Never raises: with a schema that cannot be used, all is hidden."""
    try:
        return without_secrets(prepare(schema), dict(values), lambda path, value: MASK)
    except Unusable:
        return dict.fromkeys(values, MASK)


def split(schema: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[dict[str, JSON], dict[str, JSON]]:
    """The public values, and the secret ones by JSON pointer; `join` puts them together again."""
    secrets: dict[str, JSON] = {}

    def take(path: Path, value: Any) -> Any:
        secrets[pointer(path)] = deepcopy(value)
        return MISSING

    try:
        return without_secrets(prepare(schema), dict(values), take), secrets
    except Unusable:
        return {}, {pointer((name,)): value for name, value in values.items()}


def join(public: Mapping[str, Any], secrets: Mapping[str, Any]) -> dict[str, JSON]:
    values: dict[str, Any] = deepcopy(dict(public))
    for where, value in secrets.items():
        *parents, last = (part.replace("~1", "/").replace("~0", "~") for part in where.split("/")[1:])
        spot: Any = values
        for part in parents:
            spot = spot[int(part)] if isinstance(spot, list) else spot[part]
        if isinstance(spot, list):
            spot[int(last)] = value
        else:
            spot[last] = value
    return values


def pointer(path: Path) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)

"""Secret parameters: masked for display, and split off for encrypted storage."""

from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from typing import Any

from flows import canonical
from flows.parameters.schema import MISSING, Node, Path, Schema, Unusable, parts, prepare
from flows.parameters.walk import DEEPEST, Place, children, is_misplaced, root_place
from flows.prefect_api.records import JSON

MASK = "••••••"
# What pydantic writes into a schema in place of a secret default.
STARS = "**********"


def is_secret(node: Node) -> bool:
    """Return whether a node describes a secret. pydantic's SecretStr sets both keys, hand-written schemas often one."""
    return node.get("writeOnly") is True or node.get("format") == "password"


def may_hold_secret(schema: Schema, node: Node) -> bool:
    """Return whether the node allows a secret at any depth."""
    # By identity, because schemas may refer to themselves.
    seen: set[int] = set()
    waiting = [node]
    while waiting:
        for one in schema.applying([waiting.pop()]):
            if is_secret(one):
                return True
            if id(one) not in seen:
                seen.add(id(one))
                waiting += parts(one)
    return False


def public_parameters(schema: Mapping[str, Any]) -> list[str]:
    """Return the parameters that hold no secret at any depth, in order; none for a schema that cannot be used."""
    try:
        prepared = prepare(schema)
    except Unusable:
        return []
    return [name for name, node in prepared.properties.items() if not may_hold_secret(prepared, node)]


def is_hidden(place: Place, depth: int) -> bool:
    """Return whether a value must be hidden.

    Values that the schema does not know count as secret: a run started elsewhere, or before the schema changed, may
    contain a password under a name that the schema no longer has.
    """
    if place.value is None:
        return False
    return not place.is_known or depth > DEEPEST or any(map(is_secret, place.nodes)) or is_misplaced(place)


def without_secrets(
    schema: Schema, values: dict[str, Any], replace: Callable[[Path, Any], Any], also: Collection[str] = ()
) -> dict[str, Any]:
    """Return a copy of the values with `replace(path, value)` in place of every secret.

    `also` are JSON pointers of values that are secret although the schema no longer says so.
    """
    copy: dict[str, Any] = _copy(schema, root_place(schema, values), (), replace, also)
    return copy


def conceal(schema: Schema, node: Node, value: Any, replace: Callable[[Path, Any], Any]) -> Any:
    """Do the same for one value and the part of the schema that describes it."""
    return _copy(schema, Place("", value, schema.applying([node]), True), (), replace)


def _copy(
    schema: Schema, place: Place, path: Path, replace: Callable[[Path, Any], Any], also: Collection[str] = ()
) -> Any:
    if is_hidden(place, len(path)) or (also and place.value is not None and pointer(path) in also):
        return replace(path, place.value)
    copies = {inner.key: _copy(schema, inner, (*path, inner.key), replace, also) for inner in children(schema, place)}
    if isinstance(place.value, dict):
        return {name: copy for name, copy in copies.items() if copy is not MISSING}
    if isinstance(place.value, list):  # null keeps the other items at their indexes, which `join` needs
        return [None if copy is MISSING else copy for copy in copies.values()]
    return place.value


def default_of(schema: Schema, node: Node) -> Any:
    """Return the default in a schema, without secrets that pydantic replaced by stars; MISSING if there is none."""
    default = schema.effective(node).get("default", MISSING)
    if default is MISSING:
        return MISSING
    return conceal(schema, node, default, lambda path, value: MISSING if value == STARS else value)


def mask(schema: Mapping[str, Any], values: Mapping[str, Any], also: Collection[str] = ()) -> dict[str, JSON]:
    """Return the values with `MASK` in place of each secret. Never raises: with an unusable schema, all are masked.

    `also` are JSON pointers of values that are secret although the schema no longer says so.
    """
    try:
        return without_secrets(prepare(schema), dict(values), lambda path, value: MASK, also)
    except Unusable:
        return dict.fromkeys(values, MASK)


def split(schema: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[dict[str, JSON], dict[str, JSON]]:
    """Split values into public ones and secret ones by JSON pointer; `join` reverses it."""
    secrets: dict[str, JSON] = {}

    def take(path: Path, value: Any) -> Any:
        secrets[pointer(path)] = deepcopy(value)
        return MISSING

    try:
        return without_secrets(prepare(schema), dict(values), take), secrets
    except Unusable:
        # Without a schema any value may be a secret, so all are encrypted.
        return {}, {pointer((name,)): value for name, value in values.items()}


def join(public: Mapping[str, Any], secrets: Mapping[str, Any]) -> dict[str, JSON]:
    """Insert the secret values at their JSON pointers; the reverse of `split`."""
    values: dict[str, Any] = deepcopy(dict(public))
    for where, value in secrets.items():
        *parents, last = keys_of(where)
        spot: Any = values
        for part in parents:
            spot = spot[int(part)] if isinstance(spot, list) else spot[part]
        if isinstance(spot, list):
            spot[int(last)] = value
        else:
            spot[last] = value
    return values


def pointer(path: Path) -> str:
    """Return the JSON pointer of a path (RFC 6901); `keys_of` reverses it."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def keys_of(where: str) -> list[str]:
    """Return the keys of a JSON pointer; indexes of lists are texts too."""
    # "~1" before "~0", or "~01" would become "/" (RFC 6901).
    return [part.replace("~1", "/").replace("~0", "~") for part in where.split("/")[1:]]


def masked_paths(values: Any, path: Path = ()) -> frozenset[str]:
    """Return the JSON pointers of masked values; `values` were masked before."""
    if values == MASK:
        return frozenset([pointer(path)])
    parts = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return frozenset().union(*(masked_paths(value, (*path, key)) for key, value in parts))


def exposed(secrets: Mapping[str, Any], public: Mapping[str, Any]) -> list[str]:
    """Return the pointers of the secrets of which `public` contains any part at the same place."""
    return [where for where, value in secrets.items() if _overlaps(value, _at(public, where))]


def _at(values: Any, where: str) -> Any:
    for key in keys_of(where):
        try:
            values = values[int(key)] if isinstance(values, list) else values[key]
        except (LookupError, TypeError, ValueError):
            return MISSING
    return values


def _overlaps(secret: Any, value: Any) -> bool:
    if isinstance(secret, dict) and isinstance(value, dict):
        return any(_overlaps(inner, value.get(name, MISSING)) for name, inner in secret.items())
    if isinstance(secret, list) and isinstance(value, list):
        return any(map(_overlaps, secret, value))
    # An empty text reveals nothing; None is where a secret was removed from a list.
    return value not in (MISSING, None, "") and canonical.same(secret, value)


# What a schema says of values, as examples of them.
SAMPLES = ("default", "examples", "example", "const", "enum")


def published(schema: Mapping[str, Any], *, with_values: bool = True) -> dict[str, Any]:
    """Return a JSON Schema without the sample values of whatever may hold a secret; without all, if not `with_values`.

    Schemas that are not usable for a form come through here too, so it relies on nothing but `is_secret`.
    """
    definitions = {f"#/{name}/{key}": node for name in ("definitions", "$defs") for key, node in _dict(schema, name)}

    def holds_secret(node: Any, seen: frozenset[str]) -> bool:
        if isinstance(node, list):
            return any(holds_secret(each, seen) for each in node)
        if not isinstance(node, dict):
            return False
        target = node.get("$ref")
        if isinstance(target, str) and target not in seen and holds_secret(definitions.get(target), seen | {target}):
            return True
        return is_secret(node) or any(holds_secret(each, seen) for each in node.values())

    def copy(node: Any, is_inside: bool, is_names: bool = False) -> Any:
        if isinstance(node, list):
            return [copy(each, is_inside) for each in node]
        if not isinstance(node, dict):
            return node
        # The keys of `properties` are names of parameters, of which one may be called “default”.
        if is_names:
            return {name: copy(each, is_inside) for name, each in node.items()}
        is_inside = is_inside or is_secret(node)
        bare = is_inside or not with_values or holds_secret(node, frozenset())
        return {
            key: copy(each, is_inside, key in ("properties", "definitions", "$defs"))
            for key, each in node.items()
            if not (bare and key in SAMPLES and (key != "enum" or is_inside))
        }

    found: dict[str, Any] = copy(dict(schema), False)
    return found


def _dict(schema: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    found = schema.get(name)
    return list(found.items()) if isinstance(found, dict) else []

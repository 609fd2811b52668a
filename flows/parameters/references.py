"""Values from texts: of a shared link, for display in a form, and of `-p NAME=VALUE` in a command."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from flows.parameters import coercion
from flows.parameters.coercion import Slot, Unreadable, slot
from flows.parameters.field_types import BLOCK, CHOICE, FLAG, NUMBER, OPEN, SCALAR, SECRET, SIMPLE, kind_of
from flows.parameters.open_text import JSON_STARTS
from flows.parameters.schema import Schema, Unusable, prepare
from flows.parameters.secrets import default_of
from flows.parameters.validation import find_errors
from flows.parameters.values import ParameterError
from flows.prefect_api.records import JSON

# Read in a command as in a form; lists have no lines there.
AS_IN_FORM = (BLOCK, CHOICE, FLAG, NUMBER, OPEN, SCALAR, SECRET, SIMPLE["string", "date-time"])


def from_texts(schema: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, JSON]:
    """Convert the texts of a link by their schema. Unknown names stay, so that the form reports them.

    They are never sent without a person's submit, and secrets are dropped.
    """
    try:
        prepared = prepare(schema)
    except Unusable:
        return {}
    values: dict[str, JSON] = {}
    for name, text in texts.items():
        if name not in prepared.properties:
            values[name] = text
            continue
        one = slot(prepared, prepared.properties[name])
        # Links end in histories and chats: a secret in one must not be honoured.
        if one.is_secret:
            continue
        try:
            values[name] = kind_of(one).read(text, one)
        except Unreadable:
            # Displayed as typed, so that the form's own validation explains what is wrong.
            values[name] = text
    return values


def from_arguments(
    schema: Mapping[str, Any], texts: Mapping[str, str], defaults: Mapping[str, Any]
) -> tuple[dict[str, JSON], list[ParameterError]]:
    """Convert the texts of a command by their schema; return the values, and an error for each unreadable text.

    `defaults` are the deployment's: a time gets an offset unless its default has none. A text that is only of the wrong
    type stays text: validation refuses it together with all other errors.
    """
    try:
        prepared = prepare(schema)
    except Unusable:
        return dict(texts), []
    values: dict[str, JSON] = {}
    errors: list[ParameterError] = []
    for name, text in texts.items():
        try:
            values[name] = _read_argument(prepared, name, text, defaults) if name in prepared.properties else text
        except Unreadable as refusal:
            errors.append(ParameterError((name,), refusal.code, str(refusal)))
    return values, errors


def _read_argument(schema: Schema, name: str, text: str, defaults: Mapping[str, Any]) -> Any:
    node = schema.properties[name]
    one = slot(schema, node, defaults.get(name, default_of(schema, node)))
    if text == "null" and one.is_nullable and not _is_valid(schema, name, text):
        return None
    return _read(text, one)


def _read(text: str, one: Slot) -> Any:
    kind = kind_of(one)
    if kind in AS_IN_FORM:
        return kind.read(text, one)
    if "string" not in one.types and text.lstrip().startswith(JSON_STARTS):
        return coercion.read_json(text, one)
    return text


def _is_valid(schema: Schema, name: str, value: Any) -> bool:
    with suppress(Unusable):
        return not any(path[:1] == (name,) for path, _, _ in find_errors(schema, {name: value}, limit=100))
    return False

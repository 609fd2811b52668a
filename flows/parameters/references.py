"""Values given as texts: by a shared link, for display in a form, or on the command line."""

from collections.abc import Mapping
from typing import Any

from flows.parameters.coercion import Unreadable, read_moment, slot
from flows.parameters.field_types import kind_of
from flows.parameters.schema import Unusable, prepare
from flows.parameters.secrets import default_of
from flows.parameters.values import Invalid, ParameterError
from flows.prefect_api.records import JSON


def with_offsets(schema: Mapping[str, Any], texts: Mapping[str, str], defaults: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts, each time of a date-time parameter with its offset, as a form would send it.

    Raises `Invalid` for a local time that does not exist or comes twice.
    """
    try:
        prepared = prepare(schema)
    except Unusable:
        return dict(texts)
    read, errors = dict(texts), []
    for name in texts.keys() & prepared.properties.keys():
        node = prepared.properties[name]
        one = slot(prepared, node, defaults.get(name, default_of(prepared, node)))
        try:
            if kind_of(one).read is read_moment:
                read[name] = read_moment(texts[name], one)
        except Unreadable as refusal:
            errors.append(ParameterError((name,), refusal.code, str(refusal)))
    if errors:
        raise Invalid(*errors)
    return read


def from_texts(schema: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, JSON]:
    """Convert the texts of a link. Unknown names stay, so that the form reports them; secrets are dropped."""
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

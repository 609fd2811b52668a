"""Values as the texts of a shared link, and back, for display in a form."""

import json
from collections.abc import Mapping
from typing import Any

from flows import canonical
from flows.parameters.coercion import Slot, Unreadable, slot
from flows.parameters.description import describe
from flows.parameters.field_types import kind_of
from flows.parameters.schema import Unusable, prepare
from flows.parameters.secrets import keys_of, split
from flows.prefect_api.records import JSON


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


def to_texts(
    schema: Mapping[str, Any], values: Mapping[str, Any], defaults: Mapping[str, Any]
) -> tuple[dict[str, str], list[str]]:
    """Return the texts for a link that `from_texts` reads as these values, and the names of what no link can hold.

    Values that are at their default are left out of both. A link holds no secrets, and nothing that would be read back
    as another value.
    """
    try:
        prepared = prepare(schema)
    except Unusable:
        return {}, sorted(values)
    public, secrets = split(schema, values)
    left_out = {keys_of(pointer)[0] for pointer in secrets}
    usual = {each.name: each.default for each in describe(schema, defaults) if each.has_default}
    texts: dict[str, str] = {}
    for name, value in public.items():
        if name in usual and name not in left_out and canonical.same(usual[name], value):
            continue
        text = text_of(slot(prepared, prepared.properties[name]), value)
        if text is None:
            left_out.add(name)
        else:
            texts[name] = text
    return texts, sorted(left_out)


def text_of(one: Slot, value: JSON) -> str | None:
    """Return a text that is read back as this value, or None."""
    kind = kind_of(one)
    # Text as it is comes first: a time is shown in the zone of whoever looks, and must mean the same to the next one.
    shown = kind.show(value, one)
    candidates = [value, "\n".join(shown) if isinstance(shown, list) else shown, json.dumps(value, ensure_ascii=False)]
    for text in candidates:
        if not isinstance(text, str):
            continue
        try:
            if canonical.same(kind.read(text, one), value):
                return text
        except Unreadable:
            continue
    return None

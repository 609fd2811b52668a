"""Values from the texts of a shared link, for display in a form."""

from collections.abc import Mapping
from typing import Any

from flows.parameters.coercion import Unreadable, slot
from flows.parameters.field_types import kind_of
from flows.parameters.schema import Unusable, prepare
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

"""Values from a link somebody shared: texts that become what the schema wants, for a form to show, never to send."""

from collections.abc import Mapping
from typing import Any

from flows.parameters.coercion import Unreadable, slot
from flows.parameters.field_types import kind_of
from flows.parameters.schema import Unusable, prepare
from flows.prefect_api.records import JSON


def from_texts(schema: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, JSON]:
    """Names that the schema does not have stay, so that the form can say so; secrets do not belong into links."""
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
        if one.is_secret:
            continue
        try:
            values[name] = kind_of(one).read(text, one)
        except Unreadable:
            values[name] = text
    return values

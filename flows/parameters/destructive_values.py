"""Values with which, as the author of a flow declares in its schema, a run deletes data.

dry_run: Annotated[bool, Field(json_schema_extra={"x-destructive": [False]})] = True
"""

from collections.abc import Mapping
from typing import Any

from flows import canonical

# A list of the values with which a run deletes, or true for every value.
KEYWORD = "x-destructive"


def destructive_parameters(schema: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """Return the names of the parameters whose values are declared as destructive."""
    properties = schema.get("properties")
    marks = {
        name: node[KEYWORD]
        for name, node in (properties.items() if isinstance(properties, Mapping) else ())
        if isinstance(node, Mapping) and KEYWORD in node
    }
    return [name for name, mark in marks.items() if name in values and is_marked(mark, values[name])]


def is_marked(mark: object, value: object) -> bool:
    if isinstance(mark, list):
        return any(canonical.same(each, value) for each in mark)
    # A mark in any other form must not make a run that deletes look harmless.
    return mark is not False

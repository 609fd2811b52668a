"""What an earlier run had, beside the fields of a form that differ from it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flows import canonical
from flows.parameters.schema import MISSING
from flows.plain_text import prose

# Longer values are cut: the comparison before the run shows them in full.
LONGEST = 200


@dataclass(frozen=True, slots=True)
class Earlier:
    """A run that is repeated: what it is called in the form, and its values."""

    title: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EarlierNote:
    """The value of one field then and now; MISSING where there is none."""

    title: str
    value: Any
    current: Any

    @property
    def differs(self) -> bool:
        if MISSING in (self.value, self.current):
            return self.value is not self.current
        return not canonical.same(self.value, self.current)

    @property
    def text(self) -> str:
        if self.value is MISSING:
            return "not given"
        return cut(self.value if isinstance(self.value, str) else json.dumps(self.value, ensure_ascii=False))


def cut(text: str) -> str:
    line = " ".join(prose(text).split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"

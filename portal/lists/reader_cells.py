"""Cells that not every reader of a row may see, in rows that are rendered once for all of them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from django.utils.safestring import SafeString, mark_safe

from runs.access.decisions import Permissions

# Stands for the cell until the reader is known. It is random, so that no text of a flow is taken for it.
MARK: SafeString = mark_safe(f"<!--{secrets.token_hex(16)}-->")


@dataclass(frozen=True, slots=True)
class ReaderCell:
    """The content of one cell for those who may view it, and for all others."""

    shown: SafeString
    otherwise: SafeString
    may_view: Callable[[Permissions], bool]

    def content(self, permissions: Permissions) -> SafeString:
        return self.shown if self.may_view(permissions) else self.otherwise

    def fill(self, row: str, permissions: Permissions) -> str:
        """Return the HTML of a row with the cell as this reader sees it."""
        return row.replace(MARK, self.content(permissions))

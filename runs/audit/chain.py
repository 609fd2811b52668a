"""The digest of an audit entry, and what it covers."""

from __future__ import annotations

import hashlib
import json
import re

from flows import canonical
from runs.models import AuditEntry

# The previous digest of the first entry.
GENESIS = "0" * 64
DIGEST = re.compile("[0-9a-f]{64}")
CHAINED = [f.attname for f in AuditEntry._meta.concrete_fields if f.attname not in ("digest", "signature")]
EMPTY: tuple[object, ...] = ("", None, {})


def digest(entry: AuditEntry) -> str:
    """Return the SHA-256, in hexadecimal, over all other columns but the signature, which is over it.

    The digest of the entry before is one of them.
    Empty columns are left out, so that a column added later does not change the digests of older entries.
    """
    columns = {name: getattr(entry, name) for name in CHAINED}
    # Postgres returns another UTC offset than it was given: hash the moment, not its spelling.
    columns["at"] = canonical.moment(entry.at).isoformat()
    filled = {name: value for name, value in columns.items() if value not in EMPTY}
    text = json.dumps(filled, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()

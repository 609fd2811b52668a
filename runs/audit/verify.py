"""Verify the chain and name the first broken link; fast enough to run every night over years of entries."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from django.db import connection

from runs.audit import signatures
from runs.audit.chain import CHAINED, EMPTY, GENESIS, digest
from runs.models import AuditCheckpoint, AuditEntry

TABLE = AuditEntry._meta.db_table
# Columns that need parsing come first, in this order; the others are texts.
LEADING = ("sequence", "transaction", "previous_digest", "digest", "signature", "at", "before", "after")
TEXTS = tuple(name for name in CHAINED if name not in LEADING)
# isoformat() leaves out microseconds that are zero; Postgres writes them.
NO_FRACTION = ".000000"
CLOCK_STEP = timedelta(minutes=1)
# How long processes that were not restarted may sign with the key before.
ROLLOUT = timedelta(days=1)
# COPY escapes what would end a field or a line.
ESCAPE = re.compile(r"\\(.)")
ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v"}


@dataclass(frozen=True, slots=True)
class Verification:
    """The result: `entries` intact ones from `first` on, the `head` digest, and the first broken link as a sentence.

    `retired` is the number of entries before them that were replaced by a checkpoint.
    """

    entries: int
    head: str
    broken: str = ""
    first: int = 1
    retired: int = 0

    def __bool__(self) -> bool:
        return not self.broken

    @property
    def last(self) -> int:
        return self.first + self.entries - 1


def verify(
    *, up_to: int | None = None, at_most: int | None = None, known_head: str = "", keys: signatures.Keys | None = None
) -> Verification:
    """Verify the chain from its first entry, or its last `at_most` entries, to its end or `up_to` an entry.

    `known_head` is a digest noted earlier; an entry must still have it. Without one, a chain whose end was cut off
    looks intact. `keys` are those that signatures are checked with, by default the portal's.
    """
    keys = signatures.current_keys() if keys is None else keys
    # 1. Where to start, and the digest before it.
    checkpoint = AuditCheckpoint.objects.order_by("-last").first()
    base = checkpoint.last if checkpoint else 0
    end = AuditEntry.objects.order_by("-sequence")
    last = (end.filter(sequence__lte=up_to) if up_to is not None else end).values_list("sequence", flat=True).first()
    start = max((last or 0) - at_most, base) if at_most else base
    previous = checkpoint.digest if checkpoint else GENESIS
    if start != base:
        previous = AuditEntry.objects.filter(sequence=start).values_list("digest", flat=True).first() or ""
    elif checkpoint and (problem := problem_of(checkpoint, keys)):
        broken = f"#{checkpoint.first} to #{checkpoint.last} are gone, and {problem}."
        return Verification(0, previous, broken, start + 1, base)
    # 2. Every link from there on.
    found = known_head in ("", GENESIS) or any(
        signatures.is_signed(each, keys) for each in AuditCheckpoint.objects.filter(digest=known_head)
    )
    sequence = start

    def result(broken: str = "") -> Verification:
        return Verification(sequence - start, previous, broken, start + 1, base)

    earlier, use = "", KeyUse(list(keys))
    for number, link, own, signature, at, is_sound in walk(start, last or 0):
        if number != sequence + 1:
            return result(f"#{sequence + 1} is missing: deleted, or never written.")
        if link != previous:
            return result(f"#{number} does not follow from the entry before it.")
        if not is_sound:
            return result(f"#{number} was changed after it was written.")
        if is_before(at, earlier):
            return result(f"#{number} is dated before the entry before it.")
        if not signatures.is_valid(signatures.of_entry(own), signature, keys):
            return result(f"#{number} is not signed with a key of the portal.")
        if use.is_replaced(signature, at):
            return result(f"#{number} is signed with a key that was replaced before.")
        previous, sequence, earlier = own, number, at
        if own == known_head:
            found = True
    # 3. A rewritten chain is consistent in itself: only a digest noted outside the database shows it.
    if not found:
        older = " It may belong to a retired entry: check the files those were exported to." if base else ""
        return result(f"no entry has the digest {known_head} noted earlier: the trail was cut off or rewritten.{older}")
    return result()


def is_before(at: str, earlier: str) -> bool:
    """Return whether a time is well before another, both as `walk` yields them: a clock may be set back a little."""
    # As text first, which is quick and in this format in the same order.
    return at < earlier and datetime.fromisoformat(earlier) - datetime.fromisoformat(at) > CLOCK_STEP


class KeyUse:
    """Which key signs, as the chain is walked: after a newer one, an older one signs for a short time only."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.ages = {name: age for age, name in enumerate(keys)}
        self.newest, self.since = "", ""

    def is_replaced(self, signature: str, at: str) -> bool:
        """Return whether a valid signature is of a key that a newer one had replaced at that time."""
        name = signature.partition(":")[0]
        if name == self.newest:
            return False
        if not self.newest or self.ages[name] < self.ages[self.newest]:
            self.newest, self.since = name, at
            return False
        return datetime.fromisoformat(at) - datetime.fromisoformat(self.since) > ROLLOUT


def problem_of(checkpoint: AuditCheckpoint, keys: signatures.Keys) -> str:
    """Return why a checkpoint does not stand for retired entries, or an empty string: it could be forged."""
    retirements = AuditEntry.objects.filter(verb="audit.retire", outcome=AuditEntry.Outcome.DONE)
    if not retirements.filter(after__last=checkpoint.last, after__digest=checkpoint.digest).exists():
        return "no entry says that they were retired"
    # That entry's own signature is checked with all the others.
    return "" if signatures.is_signed(checkpoint, keys) else "their checkpoint is not signed with a key of the portal"


def walk(after: int, up_to: int) -> Iterator[tuple[int, str, str, str, str, bool]]:
    """Yield number, previous digest, own digest, signature and time of each entry, and whether its digest fits.

    This loop decides the speed of `verify`: COPY instead of rows, encoding by orjson, and the exact encoding only where
    the two differ, as for numbers like 1e16. Both encode the same columns and no others, so a digest that matches
    either one matches the entry.
    """
    dumps, loads, sha256, sort = orjson.dumps, orjson.loads, hashlib.sha256, orjson.OPT_SORT_KEYS
    for line in lines(after, up_to):
        number, transaction, link, own, signature, at, before, later, *texts = (
            line.split("\t") if "\\" not in line else unescaped(line)
        )
        columns: dict[str, object] = {name: text for name, text in zip(TEXTS, texts, strict=True) if text}
        columns["sequence"] = sequence = int(number)
        columns["transaction"] = int(transaction)
        columns["at"] = moment = at if NO_FRACTION not in at else at.replace(NO_FRACTION, "")
        if link:
            columns["previous_digest"] = link
        try:
            for name, text in (("before", before), ("after", later)):
                if text != "{}" and (value := loads(text)) not in EMPTY:
                    columns[name] = value
            is_sound = sha256(dumps(columns, option=sort)).hexdigest() == own
        except ValueError:  # a number beyond 64 bits
            is_sound = False
        yield sequence, link, own, signature, moment, is_sound or exactly(columns, own, before, later) == own


def lines(after: int, up_to: int) -> Iterator[str]:
    """Yield the entries as lines of COPY, with tabs between columns."""
    moment = "to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"+00:00\"')"
    columns = ", ".join(moment if name == "at" else name for name in (*LEADING, *TEXTS))
    query = f"SELECT {columns} FROM {TABLE} WHERE sequence > {after:d} AND sequence <= {up_to:d} ORDER BY sequence"
    with connection.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT") as copy:
        rest = b""
        # Blocks can end within a row.
        for block in copy:
            rest += block
            if rest.endswith(b"\n"):
                yield from rest[:-1].decode().split("\n")
                rest = b""


def unescaped(line: str) -> list[str]:
    return [ESCAPE.sub(lambda found: ESCAPED.get(found[1], found[1]), field) for field in line.split("\t")]


def exactly(columns: dict[str, object], own: str, before: str, after: str) -> str:
    """Return the digest as `chain.digest` computes it."""
    entry = AuditEntry(**columns | {"digest": own, "before": json.loads(before), "after": json.loads(after)})
    entry.at = datetime.fromisoformat(str(columns["at"]))
    return digest(entry)

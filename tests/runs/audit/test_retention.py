"""Retire old entries without breaking the chain."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from runs import audit
from runs.actors import Actor
from runs.audit import partitions, retention, signatures
from runs.models import AuditCheckpoint, AuditEntry
from tests import refusals
from tests.tampering import found, outcome_of, refused

SYSTEM = Actor.system("test")

pytestmark = pytest.mark.django_db


def note(number: int) -> AuditEntry:
    with audit.act("grant.give", None, by=SYSTEM, subject_kind="grant", subject_name=f"thing {number}") as act:
        act.after = {"number": number, "text": "tab\tline\nback\\slash \u0001 “quote”"}
    return AuditEntry.objects.latest("sequence")


@pytest.fixture
def two_parts() -> list[AuditEntry]:
    """Three entries in an old part, two in the one without an end."""
    entries = [note(number) for number in (1, 2, 3)]
    partitions.cut_here()
    return entries + [note(number) for number in (4, 5)]


def oldest() -> partitions.Part:
    return partitions.parts()[0]


def in_days(number: int) -> str:
    return (timezone.localdate() + timedelta(days=number)).isoformat()


def run(*arguments: str) -> None:
    call_command("retire_audit", "--before", in_days(1), *arguments)


def as_database_superuser(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_the_last_part_takes_whatever_is_written(two_parts: list[AuditEntry]) -> None:
    assert [(part.first, part.last) for part in partitions.parts()] == [(1, 3), (4, None)]
    assert audit.verify().entries == 5


def test_a_short_part_of_this_month_is_not_cut() -> None:
    note(1)
    assert partitions.cut() == ""
    assert len(partitions.parts()) == 1


def test_a_part_of_a_month_that_is_over_is_cut() -> None:
    note(1)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE runs_auditentry DISABLE TRIGGER USER")
        cursor.execute("UPDATE runs_auditentry SET at = at - interval '40 days'")
        cursor.execute("ALTER TABLE runs_auditentry ENABLE TRIGGER USER")
    assert partitions.cut() == "runs_auditentry_from_1"
    assert [part.first for part in partitions.parts()] == [1, 2]


def test_an_empty_part_is_not_cut() -> None:
    assert (partitions.cut(), partitions.cut_here()) == ("", "")


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("truncate a part", "TRUNCATE runs_auditentry_from_4"),
        ("truncate the last part", "TRUNCATE runs_auditentry_from_7"),
        ("delete an entry of a part", "DELETE FROM runs_auditentry_from_4 WHERE sequence = 4"),
        ("update an entry of the last part", "UPDATE runs_auditentry_from_7 SET reason = 'better'"),
        ("update a checkpoint", "UPDATE runs_auditcheckpoint SET digest = 'better'"),
        ("delete a checkpoint", "DELETE FROM runs_auditcheckpoint"),
        ("truncate the checkpoints", "TRUNCATE runs_auditcheckpoint"),
    ],
)
def test_every_part_refuses_every_change(two_parts: list[AuditEntry], name: str, statement: str) -> None:
    retention.retire(oldest(), by=SYSTEM)
    partitions.cut_here()
    note(7)
    why = r"Cannot update or delete|append-only"
    refused("parts of the audit trail", name, lambda: as_database_superuser(statement), why)


def test_what_is_left_verifies_from_the_checkpoint_on(two_parts: list[AuditEntry]) -> None:
    checkpoint = retention.retire(oldest(), by=SYSTEM, reason="two years are enough")
    assert (checkpoint.first, checkpoint.last, checkpoint.digest) == (1, 3, two_parts[2].digest)
    assert list(AuditEntry.objects.order_by("sequence").values_list("sequence", flat=True)) == [4, 5, 6]
    verification = audit.verify()
    assert verification, verification.broken
    assert (verification.first, verification.last, verification.retired) == (4, 6, 3)
    entry = AuditEntry.objects.latest("sequence")
    assert (entry.verb, entry.reason) == ("audit.retire", "two years are enough")
    assert entry.after == {"last": 3, "digest": two_parts[2].digest, "file": ""}


def test_the_chain_goes_on_after_everything_but_the_last_part_is_gone(two_parts: list[AuditEntry]) -> None:
    retention.retire(oldest(), by=SYSTEM)
    partitions.cut_here()
    retention.retire(oldest(), by=SYSTEM)
    assert note(8).sequence == 8
    assert audit.verify(), audit.verify().broken
    assert [each.last for each in AuditCheckpoint.objects.all()] == [6, 3]


def test_the_head_of_what_was_retired_is_still_known(two_parts: list[AuditEntry]) -> None:
    retention.retire(oldest(), by=SYSTEM)
    assert audit.verify(known_head=two_parts[2].digest)
    assert audit.verify(known_head=two_parts[4].digest)
    unknown = audit.verify(known_head=two_parts[0].digest)
    assert not unknown
    assert two_parts[0].digest in unknown.broken
    assert " files " in unknown.broken, "where it may still be found"


def test_a_part_that_is_not_sound_stays(two_parts: list[AuditEntry]) -> None:
    as_database_superuser("ALTER TABLE runs_auditentry DISABLE TRIGGER USER")
    as_database_superuser("UPDATE runs_auditentry SET reason = 'better' WHERE sequence = 2")
    as_database_superuser("ALTER TABLE runs_auditentry ENABLE TRIGGER USER")
    assert found(audit.verify()) == outcome_of("parts of the audit trail", "edit an entry of a part")
    with refusals.refused("audit.tampered"):
        retention.retire(oldest(), by=SYSTEM)
    assert AuditEntry.objects.filter(sequence=2).exists()
    assert not AuditCheckpoint.objects.exists()
    assert AuditEntry.objects.latest("sequence").outcome == "refused"


def test_parts_go_in_their_order(two_parts: list[AuditEntry]) -> None:
    partitions.cut_here()
    with refusals.refused("audit.order"):
        retention.retire(partitions.parts()[1], by=SYSTEM)


def test_a_part_dropped_past_the_command_is_found(two_parts: list[AuditEntry]) -> None:
    as_database_superuser("ALTER TABLE runs_auditentry DETACH PARTITION runs_auditentry_from_1")
    assert found(audit.verify()) == outcome_of("parts of the audit trail", "drop a part past the command")


def test_a_forged_checkpoint_is_found(two_parts: list[AuditEntry]) -> None:
    as_database_superuser("ALTER TABLE runs_auditentry DETACH PARTITION runs_auditentry_from_1")
    now = timezone.now()
    AuditCheckpoint.objects.create(first=1, last=3, digest=two_parts[2].digest, began_at=now, ended_at=now)
    assert found(audit.verify()) == outcome_of("parts of the audit trail", "drop a part and forge its checkpoint")
    assert audit.verify().broken == "#1 to #3 are gone, and no entry says that they were retired."


@pytest.mark.parametrize(
    ("name", "borrows"),
    [
        ("drop a part and forge its checkpoint and retirement", False),
        ("drop a part and forge its retirement with a copied signature", True),
    ],
)
def test_a_forged_checkpoint_with_a_forged_retirement_is_found(
    two_parts: list[AuditEntry], name: str, borrows: bool
) -> None:
    """As a superuser of the database, who knows all that the database holds, but not the key of the signatures."""
    as_database_superuser("ALTER TABLE runs_auditentry DETACH PARTITION runs_auditentry_from_1")
    now, last = timezone.now(), two_parts[-1]
    signature = last.signature if borrows else ""
    AuditCheckpoint.objects.create(
        first=1, last=3, digest=two_parts[2].digest, began_at=now, ended_at=now, signature=signature
    )
    with audit.act("audit.retire", None, by=SYSTEM, subject_kind="audit") as act:
        act.after = {"last": 3, "digest": two_parts[2].digest, "file": ""}
    as_database_superuser("ALTER TABLE runs_auditentry DISABLE TRIGGER USER")
    as_database_superuser(f"UPDATE runs_auditentry SET signature = '{signature}' WHERE verb = 'audit.retire'")
    as_database_superuser("ALTER TABLE runs_auditentry ENABLE TRIGGER USER")
    assert found(audit.verify()) == outcome_of("parts of the audit trail", name)
    # A head noted before the entries that are gone shows it too.
    assert not audit.verify(known_head=two_parts[1].digest)
    # So does the entry of the retirement, once the checkpoint itself were to fit.
    checkpoint = AuditCheckpoint.objects.get()
    as_database_superuser("ALTER TABLE runs_auditcheckpoint DISABLE TRIGGER USER")
    as_database_superuser(f"UPDATE runs_auditcheckpoint SET signature = '{signatures.sign(checkpoint)}'")
    as_database_superuser("ALTER TABLE runs_auditcheckpoint ENABLE TRIGGER USER")
    assert audit.verify().broken == "#6 is not signed with a key of the portal."


# The command


def test_the_command_keeps_what_it_retires_in_a_file(
    two_parts: list[AuditEntry], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--export", str(tmp_path), "--reason", "years ago")
    file = tmp_path / "audit-1-3.jsonl"
    assert capsys.readouterr().out == f"Entries 1 to 3 are retired and exported to {file}.\n"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["digest"] for row in rows] == [entry.digest for entry in two_parts[:3]]
    assert AuditCheckpoint.objects.get().kept_in == str(file)
    assert AuditEntry.objects.get(verb="audit.retire").actor_name.startswith("operating system account")


def test_the_command_verifies_a_file_against_its_checkpoint(two_parts: list[AuditEntry], tmp_path: Path) -> None:
    run("--export", str(tmp_path))
    file = tmp_path / "audit-1-3.jsonl"
    call_command("verify_audit", file=[file])
    file.write_text(file.read_text().replace("thing 2", "thing 7"))
    assert outcome_of("parts of the audit trail", "edit a line of a retired part's file") == "verify finds #2 changed"
    with pytest.raises(CommandError, match="#2 was changed after it was written"):
        call_command("verify_audit", file=[file])


def test_a_file_s_signatures_are_checked_with_the_keys(
    two_parts: list[AuditEntry], tmp_path: Path, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--export", str(tmp_path))
    file, keys = tmp_path / "audit-1-3.jsonl", tmp_path / "keys"
    keys.write_text(settings.AUDIT_KEYS[0])
    capsys.readouterr()
    call_command("verify_audit", file=[file])
    assert "Signatures were not checked" in capsys.readouterr().out
    call_command("verify_audit", file=[file], keys=keys)
    assert "not checked" not in capsys.readouterr().out
    keys.write_text("the key of another portal, that is 48 letters long")
    with pytest.raises(CommandError, match="#1 is not signed"):
        call_command("verify_audit", file=[file], keys=keys)


def test_a_dry_run_retires_nothing(two_parts: list[AuditEntry], capsys: pytest.CaptureFixture[str]) -> None:
    run("--dry-run")
    assert capsys.readouterr().out == "Entries 1 to 3 would be retired.\n"
    assert audit.verify().entries == 5


def test_what_is_younger_stays(two_parts: list[AuditEntry], capsys: pytest.CaptureFixture[str]) -> None:
    call_command("retire_audit", "--before", in_days(-1))
    assert not AuditCheckpoint.objects.exists()


def test_a_file_that_is_there_already_is_not_overwritten(two_parts: list[AuditEntry], tmp_path: Path) -> None:
    (tmp_path / "audit-1-3.jsonl").write_text("the witness")
    with pytest.raises(CommandError, match="could not be written"):
        run("--export", str(tmp_path))
    assert AuditEntry.objects.filter(sequence=1).exists()


@pytest.mark.parametrize("day", ["yesterday", "2026-02-30", ""])
def test_a_day_that_is_none_is_a_sentence(day: str) -> None:
    with pytest.raises(CommandError, match="2026-01-31"):
        call_command("retire_audit", "--before", day)


def test_the_command_says_what_was_retired(two_parts: list[AuditEntry], capsys: Any) -> None:
    retention.retire(oldest(), by=SYSTEM)
    call_command("verify_audit")
    assert capsys.readouterr().out.startswith("3 entries, intact, after 3 retired. Head: ")

"""Verify the audit trail."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from runs import audit
from runs.audit import offline, signatures
from runs.management.cli.command import OperatorCommand
from runs.models import AuditCheckpoint


class Command(OperatorCommand):
    help = (
        "Check that no audit entry was changed, removed or inserted, that the portal signed each, and that requests, "
        "approvals and overrides agree with them. Exits with 1 and names the first broken link or difference. A trail "
        "that was cut off at its end, or rewritten by someone who has the key, is detected only with a digest noted "
        "earlier and kept elsewhere: write one with --export, compare with --head."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--head", default="", metavar="DIGEST|FILE", help="digest noted earlier, or its file")
        parser.add_argument(
            "--file", type=Path, action="append", default=[], help="verify an export or retired entries instead"
        )
        parser.add_argument(
            "--keys", type=Path, metavar="FILE", help="the audit keys, by default PORTAL_AUDIT_KEYS; needed for --file"
        )
        parser.add_argument("--export", type=Path, metavar="FILE", help="write the last digest to a new file")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        # What `--json` prints; the sentences are printed without it.
        self.found: dict[str, Any] = {"intact": True}
        self.as_json = options["json"]
        try:
            self.verify(options)
        except CommandError as error:
            self.found |= {"intact": False, "message": str(error)}
            raise
        finally:
            if self.as_json:
                self.stdout.write(json.dumps(self.found, indent=2))

    def say(self, sentence: str) -> None:
        if not self.as_json:
            self.stdout.write(sentence)

    def verify(self, options: Mapping[str, Any]) -> None:
        keys = keys_in(options["keys"]) if options["keys"] else None
        if options["file"]:
            self.verify_files(options["file"], digest_in(options["head"]), keys)
            return
        verification = audit.verify(known_head=digest_in(options["head"]), keys=keys)
        if not verification:
            raise CommandError(f"After {verification.entries} intact entries: {verification.broken}", returncode=1)
        if difference := audit.reconcile(keys):
            raise CommandError(f"{verification.entries} entries, intact. {difference}", returncode=1)
        retired = f", after {verification.retired} retired" if verification.retired else ""
        self.say(f"{verification.entries} entries, intact{retired}. Head: {verification.head}")
        self.found |= {"entries": verification.entries, "retired": verification.retired, "head": verification.head}
        if options["export"]:
            self.export(options["export"], verification)

    def verify_files(self, paths: list[Path], known_head: str, keys: signatures.Keys | None) -> None:
        """Verify each file of JSON lines; the end of a retired one must match its checkpoint in the database."""
        is_known = not known_head
        for path in paths:
            try:
                verification, digests = offline.verify(path, keys)
            except (OSError, ValueError) as error:
                raise CommandError(f"{path} cannot be read as an export: {error}.", returncode=1) from error
            if not verification:
                raise CommandError(f"{path}: {verification.broken}", returncode=1)
            # An edited file can be consistent in itself: what was retired is compared with the database.
            checkpoint = AuditCheckpoint.objects.filter(last=verification.last).first()
            if checkpoint and checkpoint.digest != verification.head:
                raise CommandError(
                    f"{path}: its last digest does not match the checkpoint in the database.", returncode=1
                )
            is_known = is_known or known_head in digests
            self.say(f"{path}: {verification.entries} entries, intact. Head: {verification.head}")
            found = {"file": str(path), "entries": verification.entries, "head": verification.head}
            self.found.setdefault("files", []).append(found)
        self.found["signatures_checked"] = keys is not None
        if keys is None:
            self.say("Signatures were not checked: name a file with the audit keys with --keys.")
        if not is_known:
            raise CommandError(f"No entry in these files has the digest {known_head}.", returncode=1)

    def export(self, path: Path, verification: audit.Verification) -> None:
        noted = {"entries": verification.entries, "head": verification.head, "at": timezone.now().isoformat()}
        try:
            # Never overwrite: an older file may be the only proof.
            with path.open("x") as file:
                file.write(json.dumps(noted) + "\n")
        except OSError as error:
            raise CommandError(f"The head could not be written to {path}: {error.strerror}.", returncode=1) from error
        self.say(f"Head written to {path}. Keep it outside the reach of the portal's database.")


def keys_in(path: Path) -> signatures.Keys:
    """Return the keys in a file, comma-separated as in PORTAL_AUDIT_KEYS."""
    try:
        keys = [key.strip() for key in path.read_text().split(",") if key.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}.", returncode=1) from error
    if not keys:
        raise CommandError(f"{path} holds no audit key.", returncode=1)
    return signatures.keys_of(tuple(keys))


def digest_in(given: str) -> str:
    """Return a digest as it is, or the one in a file that --export wrote."""
    if not given or audit.DIGEST.fullmatch(given):
        return given
    try:
        head = json.loads(Path(given).read_text())["head"]
    except OSError as error:
        raise CommandError(f"{given} is neither a digest nor a readable file: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{given} was not written by verify_audit --export.") from error
    return str(head)

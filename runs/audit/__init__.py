"""The audit trail: append-only, and chained by digests so that a rewrite is detected."""

from runs.audit.chain import DIGEST, GENESIS, digest
from runs.audit.reconcile import reconcile
from runs.audit.record import Act, act, record, record_many
from runs.audit.verify import Verification, verify

__all__ = ["DIGEST", "GENESIS", "Act", "Verification", "act", "digest", "reconcile", "record", "record_many", "verify"]

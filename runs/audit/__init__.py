"""The audit trail: append-only and chained, so that a rewrite shows."""

from runs.audit.chain import DIGEST, GENESIS, digest
from runs.audit.verifying import Verification, verify
from runs.audit.writing import Act, act, record, record_many

__all__ = ["DIGEST", "GENESIS", "Act", "Verification", "act", "digest", "record", "record_many", "verify"]

"""The evidence that a request came through the portal: its audit entries, and the signatures of its approvals."""

from __future__ import annotations

from datetime import datetime

from runs import audit
from runs.audit import signatures
from runs.changes.approvals import approvers_of
from runs.errors import Refused
from runs.models import AuditCheckpoint, AuditEntry, BreakGlass, RunRequest
from runs.requests.submit import digest


def require_evidence(run_request: RunRequest) -> None:
    """Refuse a request that was written, approved or overridden in the database past the portal.

    None of it can change between two attempts, so it is required of a request that is launching too: otherwise that
    state would be the way around it. Raises `Refused` with code `request.changed`, `request.unrecorded`,
    `approval.unsigned` or `approval.unrecorded`.
    """
    # 1. The request is the one that was submitted: triggers protect its columns, not the encrypted values.
    if digest(run_request) != run_request.digest:
        raise Refused(
            "request.changed",
            "The request was changed in the database after it was submitted. Submit a new request.",
        )
    # 2. It was submitted through the portal: a copy of another request has a digest that fits.
    recorded = recorded_acts(run_request)
    act = ("request.submit", run_request.requested_by_name)
    if act not in recorded and not are_retired(run_request.requested_at):
        raise Refused(
            "request.unrecorded",
            f"The audit trail has no entry for the submission of request {run_request.pk}. Submit a new request, and "
            "find out who changed the database.",
        )
    # 3. So were its approvals, or the override in their place.
    override = BreakGlass.objects.filter(run_request=run_request).first()
    verb = "request.break_glass" if override else "request.approve"
    for row in [override] if override else approvers_of(run_request):
        if not signatures.is_signed(row):
            raise Refused(
                "approval.unsigned",
                f"The approval by {row.by_name} is not signed by the portal. Submit a new request, and find out who "
                "changed the database.",
                approver=row.by_name,
            )
        if (verb, row.by_name) not in recorded and not are_retired(row.at):
            raise Refused(
                "approval.unrecorded",
                f"The audit trail has no entry for the approval by {row.by_name}. Submit a new request, and find out "
                "who changed the database.",
                approver=row.by_name,
            )


def recorded_acts(run_request: RunRequest) -> set[tuple[str, str]]:
    """Return verb and actor of the entries about exactly this request that the portal signed."""
    entries = AuditEntry.objects.filter(
        subject_kind=RunRequest._meta.model_name,
        subject_id=str(run_request.pk),
        outcome=AuditEntry.Outcome.DONE,
        after__digest=run_request.digest,
    )
    return {
        (entry.verb, entry.actor_name)
        for entry in entries
        if audit.digest(entry) == entry.digest and signatures.is_signed(entry)
    }


def are_retired(at: datetime) -> bool:
    """Return whether the entries of that time were retired: a request can be approved a year before it starts."""
    return AuditCheckpoint.objects.filter(ended_at__gte=at).exists()

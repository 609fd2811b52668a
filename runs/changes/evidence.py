"""The evidence that a request came through the portal: its audit entries, and the signatures of its approvals."""

from __future__ import annotations

from datetime import datetime

from runs import audit
from runs.audit import signatures
from runs.changes.stages import approvers_of, emergency_override
from runs.digests import change_digest
from runs.errors import Refused
from runs.models import AuditCheckpoint, AuditEntry, ChangeRequest, RunRequest, RunSpec
from runs.requests.frozen_values import spec_digest
from runs.shared_reads import shared


def require_evidence(run_request: RunRequest) -> None:
    """Refuse a request that was written, approved or overridden in the database, past the portal.

    None of it can change between two attempts, so it is required of a request that is launching too: otherwise that
    state would be the way around it. Raises `Refused` with code `request.changed`, `request.unrecorded`,
    `approval.unsigned` or `approval.unrecorded`.
    """
    change, spec = run_request.change, run_request.spec
    # 1. The request is the one that was submitted: triggers protect its columns, not the encrypted values. Nor is it a
    #    copy of another, whose digest fits. The signatures bind the run to its spec and the spec to its change request:
    #    the other specs need not be read.
    require_intact(change, spec, run_request)
    # 2. It was submitted through the portal.
    recorded = acts_about(change, run_request)
    require_recorded_submission(change, recorded)
    # 3. So were its approvals, or the override in their place.
    require_recorded_approvals(change, recorded)
    # 4. And the override of its change window, which may have been part of the submission.
    if (at := run_request.overridden_at) and not are_retired(at):
        name = run_request.overridden_by_name
        if ("request.override", name) not in recorded:
            raise unrecorded("window override", name)
    # 5. And what let a step of a chain start at its gate.
    if change.kind == ChangeRequest.Kind.CHAIN:
        for decision in run_request.step_decisions.filter(is_allowed=True):
            if ("chain.let_go", decision.by_name) not in recorded and not are_retired(decision.at):
                raise unrecorded("decision at a gate", decision.by_name)


def require_intact(change: ChangeRequest, spec: RunSpec, *runs: RunRequest) -> None:
    """Refuse a change request, what it would run, or runs of it, that are not what was submitted and signed."""
    is_intact = change_digest(change) == change.digest and spec_digest(spec) == spec.digest
    rows: list[ChangeRequest | RunSpec | RunRequest] = [change, spec, *runs]
    if not is_intact or not all(signatures.is_signed(row) for row in rows):
        raise changed()


def require_retry_evidence(change: ChangeRequest) -> None:
    """Refuse an approved retry that was written, or approved, in the database. Raises `Refused` as above."""
    spec = change.specs.get()
    require_intact(change, spec)
    recorded = recorded_acts(change)
    require_recorded_submission(change, recorded)
    require_recorded_approvals(change, recorded)


def require_submitted(change: ChangeRequest) -> None:
    """Refuse a change of rules that was written in the database, past the portal. Raises `Refused` as above."""
    if not signatures.is_signed(change) or not all(signatures.is_signed(row) for row in approvers_of(change)):
        raise changed()
    require_recorded_submission(change, recorded_acts(change))


def require_recorded_submission(change: ChangeRequest, recorded: set[tuple[str, str]]) -> None:
    act = ("request.submit", change.requested_by_name)
    if act not in recorded and not are_retired(change.requested_at):
        raise Refused(
            "request.unrecorded",
            f"The audit trail has no entry for the submission of request {change.pk}. Submit a new request, and "
            "find out who changed the database.",
        )


def require_recorded_approvals(change: ChangeRequest, recorded: set[tuple[str, str]]) -> None:
    bypass = emergency_override(change)
    verb, what = ("request.break_glass", "emergency override") if bypass else ("request.approve", "approval")
    for row in [bypass] if bypass else approvers_of(change):
        if not signatures.is_signed(row):
            raise Refused(
                "approval.unsigned",
                f"The {what} by {row.by_name} is not signed by the portal. Submit a new request, and find out who "
                "changed the database.",
                approver=row.by_name,
            )
        if (verb, row.by_name) not in recorded and not are_retired(row.at):
            raise unrecorded(what, row.by_name)


def changed() -> Refused:
    return Refused(
        "request.changed",
        "The request was changed in the database after it was submitted. Submit a new request.",
    )


def unrecorded(what: str, name: str) -> Refused:
    return Refused(
        "approval.unrecorded",
        f"The audit trail has no entry for the {what} by {name}. Submit a new request, and find out who changed the "
        "database.",
        approver=name,
    )


def acts_about(change: ChangeRequest, run_request: RunRequest) -> set[tuple[str, str]]:
    """Return the recorded acts about a run and its change request; only an override is recorded of one of several."""
    if change.is_backfill and not run_request.overridden_at:
        return shared(("acts", change.pk), lambda: recorded_acts(change))
    return recorded_acts(change, run_request)


def recorded_acts(*rows: ChangeRequest | RunRequest) -> set[tuple[str, str]]:
    """Return verb and actor of the entries about a change request, and its run, that the portal signed."""
    change = next(row for row in rows if isinstance(row, ChangeRequest))
    entries = AuditEntry.objects.filter(
        # A change request for one run is recorded as that run, which has the same number; no other row has it.
        subject_kind__in=[ChangeRequest._meta.model_name, RunRequest._meta.model_name],
        subject_id__in=[str(row.pk) for row in rows],
        outcome=AuditEntry.Outcome.DONE,
        after__digest=change.digest,
    )
    genuine = [entry for entry in entries if audit.digest(entry) == entry.digest and signatures.is_signed(entry)]
    # A submission can override the change window at once.
    overriding = {("request.override", entry.actor_name) for entry in genuine if "overrides" in entry.after}
    return {(entry.verb, entry.actor_name) for entry in genuine} | overriding


def are_retired(at: datetime) -> bool:
    """Return whether the entries of that time were retired: a request can be approved a year before it starts."""
    return AuditCheckpoint.objects.filter(ended_at__gte=at).exists()

"""Compare requests, approvals and overrides with their audit entries, both ways, and check their signatures."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from django.db import connection

from runs.audit import signatures
from runs.models import Approval, AuditEntry, BreakGlass, ChangeRequest, RunRequest, RunSpec, StepDecision
from runs.models.request import State

# verb -> what its entries record. Each has exactly one row, and each row exactly one entry.
RECORDED: dict[str, str] = {
    "request.submit": "the submission",
    "request.approve": "an approval",
    "request.reject": "a rejection",
    "request.break_glass": "an emergency override",
    "request.review": "a review of the override",
    "request.launch": "the launch",
    "chain.let_go": "a step that was let go at its gate",
    "chain.reject": "a step that was rejected at its gate",
}
# State of a change request -> the verb that ends it so.
ENDED_BY: dict[str, str] = {
    State.REJECTED: "request.reject",
    State.WITHDRAWN: "request.withdraw",
    State.EXPIRED: "request.expire",
}
# State -> verb and outcome of an entry that every request in it has.
REACHED_BY: dict[str, tuple[str, str]] = {
    # Of a change request: its run requests follow it.
    **{state: (verb, "done") for state, verb in ENDED_BY.items()},
    State.REFUSED: ("request.launch", "refused"),
    **dict.fromkeys(
        [State.LAUNCHED, State.COMPLETED, State.FAILED, State.CANCELLED, State.LOST], ("request.launch", "done")
    ),
}
# Entries: a request that was numbered later may have been submitted a little earlier.
OVERLAP = 1000
# A change request for one run is recorded as that run, which has the same number; no other row of either has it.
KINDS = "('runrequest', 'changerequest')"
# `proof` is what row and entry have in common beside request and person.
ROWS = """
    SELECT 'request.submit' AS verb, id AS request, requested_by_name AS person, digest AS proof, requested_at AS at
    FROM runs_changerequest
    UNION ALL SELECT CASE WHEN approved THEN 'request.approve' ELSE 'request.reject' END, change_id, by_name, digest, at
    FROM runs_approval
    UNION ALL SELECT 'request.break_glass', bypass.change_id, bypass.by_name, change.digest, bypass.at
    FROM runs_breakglass AS bypass JOIN runs_changerequest AS change ON change.id = bypass.change_id
    UNION ALL SELECT 'request.review', change_id, reviewed_by_name, was_right::text, reviewed_at
    FROM runs_breakglass WHERE reviewed_at IS NOT NULL
    UNION ALL SELECT CASE WHEN decision.is_allowed THEN 'chain.let_go' ELSE 'chain.reject' END, decision.run_request_id,
    decision.by_name, change.digest, decision.at
    FROM runs_stepdecision AS decision JOIN runs_changerequest AS change ON change.id = decision.change_id
    UNION ALL SELECT 'request.launch', id, '', flow_run_id::text, coalesce(launched_at, changed_at)
    FROM runs_runrequest WHERE flow_run_id IS NOT NULL
"""
ENTRIES = f"""
    SELECT verb, subject_id::bigint AS request, CASE verb WHEN 'request.launch' THEN '' ELSE actor_name END AS person,
        "after" ->> CASE verb WHEN 'request.launch' THEN 'flow_run_id' WHEN 'request.review' THEN 'was_right'
        ELSE 'digest' END AS proof, sequence
    FROM runs_auditentry WHERE verb = ANY (%(verbs)s) AND outcome = 'done' AND subject_kind IN {KINDS}
    AND sequence > %(after)s
"""
# Entries of this time and before may have been retired. A minute more: some times of rows are of the portal's clock.
RETIRED = "coalesce((SELECT max(ended_at) + interval '1 minute' FROM runs_auditcheckpoint), '-infinity')"
# One statement, so that both sides are of one moment while the portal goes on.
UNMATCHED = f"""
    SELECT request, verb, person, entries.sequence FROM
        (SELECT verb, request, person, proof, count(*) AS number, max(at) AS at FROM ({ROWS}) AS facts
        WHERE request >= %(first)s GROUP BY 1, 2, 3, 4) AS facts
    FULL JOIN
        (SELECT verb, request, person, proof, count(*) AS number, max(sequence) AS sequence FROM ({ENTRIES}) AS entries
        WHERE request >= %(first)s GROUP BY 1, 2, 3, 4) AS entries
    USING (verb, request, person, proof)
    WHERE facts.number IS NULL OR entries.number > facts.number
    OR (entries.number IS NULL OR entries.number < facts.number) AND facts.at > {RETIRED}
    ORDER BY request, verb LIMIT 1
"""
NOT_REACHED = f"""
    SELECT request.id, request.state FROM (
        SELECT id, state, flow_run_id, changed_at, launched_at FROM runs_runrequest WHERE state <> ALL (%(ends)s)
        UNION ALL
        SELECT id, state, NULL, changed_at, NULL FROM runs_changerequest WHERE state = ANY (%(ends)s)
    ) AS request
    JOIN unnest(%(states)s::text[], %(verbs)s::text[], %(outcomes)s::text[]) AS known (state, verb, outcome)
    ON known.state = request.state
    WHERE request.id >= %(first)s AND NOT EXISTS (
        SELECT FROM runs_auditentry AS entry
        WHERE entry.subject_kind IN {KINDS} AND entry.subject_id = request.id::text
        AND entry.verb = known.verb AND entry.outcome = known.outcome
    -- A launched request still changes when its run ends, which may be after its entry was retired.
    ) AND CASE WHEN flow_run_id IS NULL THEN changed_at ELSE coalesce(launched_at, changed_at) END > {RETIRED}
    ORDER BY request.id LIMIT 1
"""
NOT_FOLLOWED = """
    SELECT request.id, request.state FROM runs_runrequest AS request
    JOIN runs_changerequest AS change ON change.id = request.change_id
    WHERE request.id >= %(first)s AND request.state = ANY (%(ends)s) AND change.state <> request.state
    -- A person can reject a single step of a chain at its gate.
    AND NOT EXISTS (
        SELECT FROM runs_stepdecision AS decision
        WHERE decision.run_request_id = request.id AND NOT decision.is_allowed AND request.state = 'rejected'
    )
    ORDER BY request.id LIMIT 1
"""
# A change window can be overridden later, or in the submission.
NOT_OVERRIDDEN = f"""
    SELECT request.id, request.overridden_by_name FROM runs_runrequest AS request
    WHERE request.id >= %(first)s AND request.overridden_at > {RETIRED} AND NOT EXISTS (
        SELECT FROM runs_auditentry AS entry
        WHERE entry.subject_kind IN {KINDS} AND entry.outcome = 'done'
        AND entry.subject_id IN (request.id::text, request.change_id::text)
        AND entry.actor_name = request.overridden_by_name
        AND (entry.verb = 'request.override' OR entry.verb = 'request.submit' AND entry."after" ? 'overrides')
    ) ORDER BY request.id LIMIT 1
"""


def reconcile(keys: signatures.Keys | None = None, *, at_most: int | None = None) -> str:
    """Return the first difference between the requests and their entries as a sentence; empty when there is none.

    `keys` are those that signatures are checked with, by default the portal's. `at_most` compares only so many of the
    newest requests. Entries are not checked themselves: that does `verify`.
    """
    keys = signatures.current_keys() if keys is None else keys
    first, after = 0, 0
    if at_most is not None:
        newest = RunRequest.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        first = newest - at_most + 1
        submitted = AuditEntry.objects.filter(
            subject_kind__in=["runrequest", "changerequest"], subject_id=str(first)
        ).order_by("sequence")
        after = (submitted.values_list("sequence", flat=True).first() or 0) - OVERLAP
    return next(chain(unsigned(keys, first), unmatched(first, after), not_reached(first)), "")


def unsigned(keys: signatures.Keys, first: int) -> Iterator[str]:
    """Yield a sentence for each row that was written past the portal, or changed afterwards."""
    for change in ChangeRequest.objects.filter(pk__gte=first).order_by("pk").iterator(2000):
        if not signatures.is_signed(change, keys):
            yield f"Request {change.pk} is not signed with a key of the portal."
    specs = RunSpec.objects.filter(change__gte=first).select_related("change").order_by("change", "position")
    requests = RunRequest.objects.filter(change__gte=first).select_related("spec__change").order_by("change", "pk")
    contents: Iterator[RunSpec | RunRequest] = chain(specs.iterator(2000), requests.iterator(2000))
    for part in contents:
        if not signatures.is_signed(part, keys):
            what = "What request {} would run" if isinstance(part, RunSpec) else "A run of request {}"
            yield f"{what.format(part.change_id)} is not signed with a key of the portal."
    given = Approval.objects.filter(change__gte=first).order_by("pk")
    gates = StepDecision.objects.filter(change__gte=first).select_related("run_request__spec__change").order_by("pk")
    overrides = BreakGlass.objects.filter(change__gte=first).select_related("change").order_by("pk")
    decisions: Iterator[Approval | BreakGlass | StepDecision] = chain(
        given.iterator(2000), overrides.iterator(2000), gates.iterator(2000)
    )
    for row in decisions:
        if not signatures.is_signed(row, keys):
            what = "The emergency override" if isinstance(row, BreakGlass) else f"What {row.by_name} decided"
            yield f"{what} on request {row.change_id} is not signed with a key of the portal."


def unmatched(first: int, after: int) -> Iterator[str]:
    """Yield a sentence for the first row without an entry, or entry without a row."""
    for request, verb, person, sequence in select(UNMATCHED, verbs=list(RECORDED), first=first, after=after):
        by = f" by {person}" if person else ""
        if sequence is None:
            yield f"Request {request} has {RECORDED[verb]}{by} that no audit entry records."
        else:
            yield f"#{sequence} records {RECORDED[verb]}{by} on request {request}, and the request does not have it."


def not_reached(first: int) -> Iterator[str]:
    """Yield a sentence for the first request in a state, or past a change window, that no entry explains."""
    verbs, outcomes = zip(*REACHED_BY.values(), strict=True)
    known = {"states": list(REACHED_BY), "verbs": list(verbs), "outcomes": list(outcomes), "ends": list(ENDED_BY)}
    for request, state in select(NOT_REACHED, first=first, **known):
        yield f"Request {request} is “{State(state).label}”, and no audit entry records how it became so."
    for request, state in select(NOT_FOLLOWED, first=first, ends=list(ENDED_BY)):
        yield f"Request {request} is “{State(state).label}”, and what it belongs to is not."
    for request, person in select(NOT_OVERRIDDEN, first=first):
        yield f"Request {request} has an override of its change window by {person} that no audit entry records."


def select(statement: str, **values: list[str] | int) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())

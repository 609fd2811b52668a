"""Refused job tokens in the audit trail: the only code that writes `JobRefusal`."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from runs import audit
from runs.actors import Actor, Channel, Kind
from runs.errors import Refused
from runs.governance import job_claims
from runs.governance.job_trusts import JobToken
from runs.models import JobRefusal

# Refusals of one issuer with one code get an entry this often: anyone can send job tokens.
RECORDED_EVERY = timedelta(minutes=1)


def record(refusal: Refused, *, issuer: str, address: str, user_agent: str = "", job: JobToken | None = None) -> None:
    """Record a refused job token, at most once a minute for each configured issuer and code, with their number."""
    known = issuer if issuer in settings.JOB_ISSUERS else ""
    now = timezone.now()
    with transaction.atomic():
        row, _ = JobRefusal.objects.select_for_update().get_or_create(issuer=known, code=refusal.code)
        row.count += 1
        is_due = row.recorded_at is None or row.recorded_at <= now - RECORDED_EVERY
        count = row.count
        if is_due:
            row.count, row.recorded_at = 0, now
        row.save(update_fields=["count", "recorded_at"])
        if not is_due:
            return
        by = Actor(Kind.TOKEN, "", "unknown CI job", Channel.API, None, address, user_agent[:400])
        with audit.act("token.exchange", None, by=by, subject_kind="token") as act:
            act.refusal = refusal.message
            act.after = {
                "refused": {"code": refusal.code},
                "refusals": count,
                "issuer": known,
                # Signed by the issuer, so it is worth recording; anything else anyone can write.
                **({"job": job_claims.facts(job.claims)} if job else {}),
            }

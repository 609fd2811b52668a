"""Trusted jobs for tests, with an issuer on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from portal.auth import issuer_keys
from runs.governance import job_trusts
from runs.models import JobTrust, JobTrustScope, ServiceAccount
from tests.cast import by
from tests.fakes.issuer import AUDIENCE, Issuer, serving

ON_GITHUB = {"repository": "acme/pipelines", "repository_id": "123456789", "ref": "refs/heads/main"}
ON_GITLAB = {"project_path": "acme/pipelines", "project_id": "4711", "ref": "main", "ref_type": "branch"}


@pytest.fixture
def issuer(settings: Any) -> Iterator[Issuer]:
    """An issuer that the operator has allowed, whose keys were not read yet."""
    issuer_keys.KEYS.clear()
    with serving() as found:
        settings.JOB_ISSUERS = [found.url]
        settings.PUBLIC_URL = AUDIENCE
        yield found
    issuer_keys.KEYS.clear()


def trust(
    robot: ServiceAccount,
    issuer: str,
    *scopes: JobTrustScope,
    claims: Mapping[str, str] = ON_GITHUB,
    owner: User | None = None,
    **options: Any,
) -> JobTrust:
    settings = {
        "name": "month end",
        "audience": AUDIENCE,
        "expires_at": timezone.now() + timedelta(days=90),
        **options,
    }
    return job_trusts.create(
        robot.user,
        by=by(owner or robot.owner),
        issuer=issuer,
        claims=claims,
        scopes=list(scopes) or [JobTrustScope(verbs=["see", "trigger"])],
        **settings,
    )

"""Conditions on the claims of job tokens: what is accepted as one, and what fits it."""

from __future__ import annotations

from typing import Any

import pytest

from runs.governance import job_claims
from tests.fakes.issuer import GITHUB, GITLAB
from tests.refusals import refused


@pytest.mark.parametrize(
    ("pattern", "text", "is_fit"),
    [
        ("refs/heads/main", "refs/heads/main", True),
        ("refs/heads/main", "refs/heads/main2", False),
        ("refs/heads/main", "xrefs/heads/main", False),
        ("refs/heads/main", "refs/heads/main\n", False),
        ("refs/heads/main", "refs/heads/MAIN", False),
        ("refs/heads/main", "refs.heads.main", False),
        ("refs/tags/v*", "refs/tags/v1.2", True),
        ("refs/tags/v*", "refs/tags/v", False),
        # One * never crosses a / or a :, so it cannot reach another part than it was written for.
        ("refs/heads/*", "refs/heads/feature/x", False),
        ("refs/heads/*/*", "refs/heads/feature/x", True),
        ("repo:acme/*", "repo:acme/pipelines:ref:refs/heads/main", False),
        ("repo:acme/*", "repo:acme/pipelines", True),
        ("repo:acme/*:ref:refs/heads/main", "repo:acme/x:environment:y:ref:refs/heads/main", False),
        ("a*a", "a", False),
        ("a*a", "aa", False),
        ("a*a", "aba", True),
        ("[a-z]", "b", False),
        ("?", "b", False),
        ("true", True, True),
        ("1", True, False),
        ("4711", 4711, True),
        ("4711", 4711.0, False),
        ("None", None, False),
        ("a", ["a"], False),
        ("a", {"a": 1}, False),
    ],
)
def test_what_fits(pattern: str, text: Any, is_fit: bool) -> None:
    assert job_claims.fits(pattern, job_claims.text_of(text)) is is_fit


def test_a_claim_that_is_not_there_does_not_fit() -> None:
    conditions = {"repository": "acme/pipelines", "environment": "production"}
    claims = {name: value for name, value in GITHUB.items() if name != "environment"}
    assert job_claims.differing(conditions, claims) == ["environment"]
    assert job_claims.differing(conditions, GITHUB) == []


@pytest.mark.parametrize("event", ["pull_request_target", "workflow_run"])
def test_jobs_that_run_the_code_of_a_fork_fit_only_if_named(event: str) -> None:
    conditions = {"repository": "acme/pipelines", "ref": "refs/heads/main"}
    claims = {**GITHUB, "event_name": event}
    assert job_claims.differing(conditions, claims) == ["event_name"]
    assert job_claims.differing({**conditions, "event_name": "*"}, claims) == ["event_name"]
    assert job_claims.differing({**conditions, "event_name": event}, claims) == []


@pytest.mark.parametrize(
    ("conditions", "code"),
    [
        ({}, "job_trust.claims"),
        ({"repository": "acme/pipelines", "iss": "https://gitlab.com"}, "job_trust.claims"),
        ({"repository": "acme/pipelines", "Ref": "main"}, "job_trust.claims"),
        ({"repository": "acme/pipelines", "ref": " "}, "job_trust.claims"),
        ({"repository": "acme/pipelines", "ref": "a\nb"}, "job_trust.claims"),
        ({"repository": "acme/pipelines", "ref": "refs/heads/*x*"}, "job_trust.claims"),
        ({"repository": "acme/pipelines", "ref": "x" * 301}, "job_trust.claims"),
        ({"repository": "acme/pipelines", **{f"claim_{number}": "x" for number in range(12)}}, "job_trust.claims"),
        ({"repository": "acme/*"}, "job_trust.repository"),
        ({"sub": "repo:acme/pipelines:ref:refs/heads/main"}, "job_trust.repository"),
        ({"repository_owner": "acme"}, "job_trust.repository"),
    ],
)
def test_what_is_not_a_condition(conditions: dict[str, str], code: str) -> None:
    with refused(code):
        job_claims.parse(conditions)


def test_an_id_alone_names_the_repository() -> None:
    assert job_claims.parse({"repository_id": " 123456789 "}) == {"repository_id": "123456789"}


@pytest.mark.parametrize(
    ("conditions", "codes"),
    [
        ({"repository": "acme/pipelines"}, {"ref", "protected", "id"}),
        ({"repository_id": "1", "ref": "refs/tags/v*"}, {"pattern", "protected"}),
        ({"project_id": "1", "ref": "main", "ref_protected": "true"}, set()),
    ],
)
def test_pages_warn_of_what_is_left_open(conditions: dict[str, str], codes: set[str]) -> None:
    assert set(job_claims.warnings(conditions)) == codes


def test_the_facts_of_a_github_job() -> None:
    found = job_claims.facts({**GITHUB, "iss": job_claims.GITHUB})
    assert (found["repository"], found["ref"], found["started_by"]) == ("acme/pipelines", "refs/heads/main", "amira")
    assert found["url"] == "https://github.com/acme/pipelines/actions/runs/7700112233/attempts/1"


def test_the_facts_of_a_gitlab_job() -> None:
    found = job_claims.facts({**GITLAB, "iss": "https://gitlab.example.com"})
    assert (found["repository"], found["run"], found["event"]) == ("acme/pipelines", "31415", "push")
    assert found["url"] == "https://gitlab.example.com/acme/pipelines/-/jobs/27182"


def test_hostile_facts_stay_text_on_the_host_of_the_issuer() -> None:
    claims = {**GITHUB, "iss": job_claims.GITHUB, "run_id": '1?x=//evil.example/"><script>', "sub": "a\0b" + "x" * 999}
    found = job_claims.facts(claims)
    assert found["url"].startswith("https://github.com/acme/pipelines/actions/runs/1%3Fx%3D%2F%2Fevil")
    assert "\0" not in found["subject"]
    assert len(found["subject"]) <= job_claims.LONGEST_TEXT

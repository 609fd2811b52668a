"""What a job token must say: the conditions of a trusted job, and the facts of a job for people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from flows.db_text import sanitize
from runs.errors import Refused

# Stands in a condition for one or more characters, but for these: `repo:org/*` then reaches no ref of a repository.
ANY, SEPARATORS = "*", re.compile(r"([/:])")
MOST_CLAIMS, LONGEST_TEXT = 12, 300
NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
# Checked of every job token, whatever the conditions say.
ALWAYS_CHECKED = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti"})

# Those that name the repository. An id is never given to another one, a name can be.
IDS, NAMES = ("repository_id", "project_id"), ("repository", "project_path")
REPOSITORY = (*NAMES, *IDS)
# A claim of which one exact text stands for reviewed code, or for an environment with rules of its own.
LIMITS = ("ref", "environment")
PROTECTED = "ref_protected"
# Events of GitHub whose jobs have the ref of the repository itself and can run the code of a stranger's fork.
EVENT, RISKY_EVENTS = "event_name", frozenset({"pull_request_target", "workflow_run"})

# fact for people -> the claims that hold it, at GitHub and at GitLab
FACTS: dict[str, tuple[str, ...]] = {
    "subject": ("sub",),
    "repository": NAMES,
    "repository_id": IDS,
    "ref": ("ref",),
    "environment": ("environment",),
    "commit": ("sha",),
    "event": (EVENT, "pipeline_source"),
    "started_by": ("actor", "user_login"),
    "workflow": ("job_workflow_ref", "ci_config_ref_uri"),
    "run": ("run_id", "pipeline_id"),
    "attempt": ("run_attempt",),
    "job": ("job_id",),
}
# Of GitHub itself: the host of its tokens is not that of its pages.
GITHUB = "https://token.actions.githubusercontent.com"


# Conditions -----------------------------------------------------------------------------------------------------------


def parse(conditions: Mapping[str, str]) -> dict[str, str]:
    """Return checked conditions; raises `Refused` with code `job_trust.claims` or `job_trust.repository`."""
    found = {name.strip(): sanitize(text.strip()) for name, text in conditions.items()}
    if not 1 <= len(found) <= MOST_CLAIMS or len(found) != len(conditions):
        raise Refused("job_trust.claims", f"Give 1 to {MOST_CLAIMS} claims, each once.")
    for name, text in found.items():
        require_usable(name, text)
    if not any(is_exact(found.get(name, "")) for name in REPOSITORY):
        raise Refused(
            "job_trust.repository",
            f"Name the repository exactly, without {ANY}: by one of the claims {', '.join(REPOSITORY)}.",
        )
    return found


def require_usable(name: str, text: str) -> None:
    if not NAME.fullmatch(name) or name in ALWAYS_CHECKED:
        raise Refused("job_trust.claims", f"“{name}” is not a claim that can be a condition.", claim=name)
    if not text or len(text) > LONGEST_TEXT or not text.isprintable():
        raise Refused(
            "job_trust.claims", f"Give “{name}” a text of up to {LONGEST_TEXT} printable characters.", claim=name
        )
    if any(part.count(ANY) > 1 for part in SEPARATORS.split(text)):
        raise Refused("job_trust.claims", f"“{name}”: use one {ANY} between two / or : at most.", claim=name)


def is_exact(text: str) -> bool:
    return bool(text) and ANY not in text


def is_limited(conditions: Mapping[str, str]) -> bool:
    """Return whether only one ref or environment, or protected refs, fit."""
    return conditions.get(PROTECTED) == "true" or any(is_exact(conditions.get(name, "")) for name in LIMITS)


def warnings(conditions: Mapping[str, str]) -> dict[str, str]:
    """Return code -> what a condition that is missing lets in, for the pages."""
    found = {}
    if not any(name in conditions for name in LIMITS):
        found["ref"] = "Neither ref nor environment is limited: every branch and tag of the repository fits."
    elif any(ANY in conditions.get(name, "") for name in LIMITS):
        found["pattern"] = "A pattern fits branches, tags or environments that do not exist yet."
    if conditions.get(PROTECTED) != "true":
        found["protected"] = (
            f"{PROTECTED} is not required: who can push to a branch or tag that fits can change what its job does."
        )
    if not any(is_exact(conditions.get(name, "")) for name in IDS):
        found["id"] = (
            "The repository is trusted by its name, which another one can get after it was renamed or deleted. Add "
            f"{' or '.join(IDS)}."
        )
    return found


# Comparison -----------------------------------------------------------------------------------------------------------


def differing(conditions: Mapping[str, str], claims: Mapping[str, Any]) -> list[str]:
    """Return the claims that do not fit, those of the repository first."""
    found = [name for name, text in conditions.items() if not fits(text, text_of(claims.get(name)))]
    if text_of(claims.get(EVENT)) in RISKY_EVENTS and not is_exact(conditions.get(EVENT, "")):
        found.append(EVENT)
    return sorted(set(found), key=lambda name: (name not in REPOSITORY, name))


def fits(pattern: str, text: str | None) -> bool:
    """Return whether a text is what a condition says, part by part between / and : and case by case."""
    if text is None or len(text) > 4 * LONGEST_TEXT:
        return False
    wanted, given = SEPARATORS.split(pattern), SEPARATORS.split(text)
    return len(wanted) == len(given) and all(map(part_fits, wanted, given))


def part_fits(wanted: str, given: str) -> bool:
    if ANY not in wanted:
        return wanted == given
    begin, _, end = wanted.partition(ANY)
    return len(given) > len(begin) + len(end) and given.startswith(begin) and given.endswith(end)


def text_of(value: object) -> str | None:
    """Return a claim as text; None for what is neither text, a whole number nor a yes or no."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int) else None


# Facts ----------------------------------------------------------------------------------------------------------------


def facts(claims: Mapping[str, Any]) -> dict[str, str]:
    """Return what a job token says about its job, for people and the audit trail."""
    found = {"issuer": clean(claims.get("iss"))}
    for fact, names in FACTS.items():
        found[fact] = next(filter(None, (clean(claims.get(name)) for name in names)), "")
    found["url"] = job_url(found, is_gitlab="project_path" in claims)
    return {name: text for name, text in found.items() if text}


def clean(value: object) -> str:
    return sanitize(text_of(value) or "")[:LONGEST_TEXT]


def job_url(found: Mapping[str, str], *, is_gitlab: bool) -> str:
    """Return the page of a job, or "" without one. Its host is the issuer's: no claim leads elsewhere."""
    repository, issuer = quote(found["repository"]), found["issuer"]
    if is_gitlab:
        return f"{issuer}/{repository}/-/jobs/{quote(found['job'], safe='')}" if found["job"] else ""
    if not found["run"]:
        return ""
    parts = urlsplit(issuer)
    server = "https://github.com" if issuer.startswith(GITHUB) else f"{parts.scheme}://{parts.netloc}"
    attempt = f"/attempts/{quote(found['attempt'], safe='')}" if found["attempt"] else ""
    return f"{server}/{repository}/actions/runs/{quote(found['run'], safe='')}{attempt}"

"""Which pages and which questions are measured, with what they are asked for in one seeded database.

`python -m benchmarks.page_questions FILE` writes them to a file, with the session and the tokens of each reader and the
number of queries of each page; `benchmarks.pages` calls it once for each database.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import django

django.setup()

from django.conf import settings  # noqa: E402  (Django must be set up before)
from django.contrib.auth.models import User  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.utils import timezone  # noqa: E402

from flows.models import Deployment, Environment  # noqa: E402
from runs.actors import Actor, Channel  # noqa: E402
from runs.governance import tokens  # noqa: E402
from runs.models import AuditEntry, LogLine, Run, RunRequest, TokenScope  # noqa: E402

READERS = ("broad", "narrow")
# A token may ask 1,200 times a minute.
TOKENS = 8


def main(file: Path) -> None:
    found = subjects()
    pages = {name: "/admin/" + path for name, path in page_paths(found).items()}
    answer = {
        "pages": pages,
        "questions": questions(found),
        "cookies": {name: settings.SESSION_COOKIE_NAME + "=" + session(name) for name in READERS},
        "tokens": {name: issued(name) for name in READERS},
        "queries": {name: count_queries(name, pages) for name in READERS},
    }
    file.write_text(json.dumps(answer))


def subjects() -> dict[str, Any]:
    """Return what the pages are about: seen by both readers, in the middle of what is usual."""
    prod = Environment.objects.get(slug="prod")
    seen = Deployment.objects.get(pk=23)
    runs = Run.objects.filter(environment=prod, deployment__pk=seen.pk)
    newest = Run.objects.order_by("-sort_at")[0].sort_at
    failed = runs.filter(state_type="FAILED").order_by("-sort_at").first()
    longest = LogLine.objects.filter(run__state_type="FAILED").order_by("-run")[:1].get().run
    request = RunRequest.objects.filter(deployment=seen).exclude(run=None).order_by("-sort_at")[0]
    return {
        "deployment": seen,
        "run": runs.filter(detailed_at__isnull=False).order_by("-sort_at")[0],
        "failed run": failed or runs[0],
        "long run": longest,
        "request": request,
        "past": newest - timedelta(days=120),
        "entry": AuditEntry.objects.order_by("-sequence")[0],
    }


def page_paths(found: dict[str, Any]) -> dict[str, str]:
    """Return name -> path below /admin/. The second word says what the list is asked for."""
    deployment, run = found["deployment"], found["run"]
    day = {"sort_at_from": f"{found['past']:%Y-%m-%d}", "sort_at_to": f"{found['past']:%Y-%m-%d}"}

    def listed(name: str, **given: Any) -> str:
        return f"{name}/?{urlencode(given)}" if given else f"{name}/"

    runs, requests, entries = "runs/run", "runs/runrequest", "runs/auditentry"
    deployments, grants = "flows/deployment", "runs/grant"
    return {
        "overview": "",
        "run": f"runs/run/{run.pk}/change/",
        "run failed": f"runs/run/{found['failed run'].pk}/change/",
        "deployment": f"flows/deployment/{deployment.pk}/change/",
        "request": f"runs/runrequest/{found['request'].pk}/change/",
        "runs": listed(runs),
        "runs of a day in the past": listed(runs, **day),
        "runs by environment": listed(runs, environment="prod"),
        "runs failed": listed(runs, state="FAILED"),
        "runs active": listed(runs, state="active"),
        "runs stalled": listed(runs, stalled="any"),
        "runs of a deployment": listed(runs, deployment=deployment.full_name),
        "runs by tag": listed(runs, tag="team-3"),
        "runs requested here": listed(runs, origin="portal"),
        "runs by name": listed(runs, q=run.name),
        "runs by id": listed(runs, q=str(run.prefect_id)),
        "runs sorted by duration": listed(runs, o="-7"),
        "runs sorted by name": listed(runs, o="1"),
        "runs sorted by deployment": listed(runs, o="3"),
        "requests": listed(requests),
        "requests of a day in the past": listed(requests, **day),
        "requests by state": listed(requests, state="failed"),
        "requests of a deployment": listed(requests, deployment=deployment.full_name),
        "requests mine": listed(requests, whose="mine"),
        "requests to answer": listed(requests, whose="to-answer"),
        "requests by search": listed(requests, q="requester-7"),
        "changes": listed("runs/changerequest"),
        "deployments": listed(deployments),
        "deployments by tag": listed(deployments, tag="finance"),
        "deployments by search": listed(deployments, q="orders"),
        "artifacts": listed("runs/artifact"),
        "artifacts by search": listed("runs/artifact", q="report-7"),
        "audit": listed(entries),
        "audit by action": listed(entries, verb="run.cancel"),
        "audit by outcome": listed(entries, outcome="refused"),
        "audit by actor": listed(entries, actor_name="broad"),
        "audit by search": listed(entries, q="OPS-77"),
        "grants": listed(grants),
        "notifications": listed("runs/notification"),
    }


def questions(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what the API is asked, and the same asked of Prefect's own API, where that can be asked."""
    deployment, run, past = found["deployment"], found["run"], found["past"].isoformat()
    return {
        "newest": {"api": {}, "prefect": {}},
        "failed only": {
            "api": {"state": ["FAILED", "CRASHED"]},
            "prefect": {"flow_runs": {"state": {"type": {"any_": ["FAILED", "CRASHED"]}}}},
        },
        "search by run name": {
            "api": {"search": run.name},
            "prefect": {"flow_runs": {"name": {"like_": run.name}}},
        },
        "search by part of a name": {
            "api": {"search": run.name.partition("-")[2][:5]},
            "prefect": {"flow_runs": {"name": {"like_": run.name.partition("-")[2][:5]}}},
        },
        "one deployment's": {
            "api": {"environment": "prod", "deployment": deployment.full_name},
            "prefect": {"flow_runs": {"deployment_id": {"any_": [str(deployment.prefect_id)]}}},
        },
        "deep in the past": {
            "api": {"until": past},
            "prefect": {"flow_runs": {"start_time": {"before_": past}}},
        },
        "by id": {
            "api": {"id": str(run.prefect_id)},
            "prefect": {"flow_runs": {"id": {"any_": [str(run.prefect_id)]}}},
        },
        "by tag": {"api": {"tag": "team-3"}, "prefect": {"flow_runs": {"tags": {"all_": ["team-3"]}}}},
        "by the value of a parameter": {"api": {"parameter": "customer=c100123"}, "prefect": None},
        "requests": {"api": {}, "path": "/api/v1/requests", "prefect": None},
        "deployments": {"api": {}, "path": "/api/v1/deployments", "prefect": None},
        "audit": {"api": {}, "path": "/api/v1/audit", "prefect": None},
    }


def session(name: str) -> str:
    client = Client()
    client.force_login(User.objects.get(username=name))
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def issued(name: str) -> list[str]:
    user = User.objects.get(username=name)
    by = Actor.person(user, channel=Channel.COMMAND)

    def issue(number: int) -> str:
        scope = TokenScope(verbs=["see", "see inputs", "see logs"], environment=Environment.objects.get(slug="prod"))
        ends = timezone.now() + timedelta(days=1)
        return tokens.issue(user, by=by, name=f"bench {number}", scopes=[scope], expires_at=ends).text

    return [issue(number) for number in range(TOKENS)]


def count_queries(name: str, pages: dict[str, str]) -> dict[str, int]:
    """Return the number of queries of each page for a reader; -1 for one that they do not get."""
    client = Client()
    client.force_login(User.objects.get(username=name))
    counts = {}
    for page, path in pages.items():
        with CaptureQueriesContext(connection) as captured:
            status = client.get(path).status_code
        counts[page] = len(captured) if status == 200 else -1
    return counts


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Tests a running stack over HTTP as an operator would use it: `manage.py demo --check`."""

import re
import subprocess
import time
from collections.abc import Callable
from typing import TypedDict

import httpx

from portal.demo.browser import Browser, Page, text_of
from portal.demo.processes import ROOT
from portal.demo.stack import Stack, await_first_sync

OPERATOR, VIEWER = "otto", "vera"
MONTH = "2017-06"
# The operator has no grant to run this deployment in a protected environment, the viewer has none anywhere.
CLOSED = "heartbeat"
DEPLOYMENTS = "/admin/flows/deployment/"
REQUESTS = "/admin/runs/runrequest/"
RUNS = "/admin/runs/run/"
OVER = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
# Seconds for each step. A flow run starts a Python process, which takes 10 s and more on a busy machine.
PATIENCE = 120.0


class RunStatus(TypedDict):
    id: int
    name: str
    state: str
    label: str


class RequestStatus(TypedDict):
    """The fields of a request's status.json that are used here."""

    label: str
    sentence: str
    is_over: bool
    run: RunStatus | None


class Failed(Exception):
    """A step failed; the message tells what was found instead."""


class SmokeTest:
    """Runs a flow, cancels another, checks refusals of an operator and a viewer, and verifies the audit trail."""

    def __init__(self, stack: Stack, say: Callable[[str], None]) -> None:
        self._stack = stack
        self._say = say
        self._browser = Browser(stack.address)
        self._open, *self._protected = [prefect.name for prefect in stack.prefects]

    def run(self) -> bool:
        """Run all steps, print each, and stop at the first that fails; return whether all passed."""
        # A list, not a generator of results: `all` must stop at the first failure, later steps depend on earlier ones.
        steps: list[tuple[str, Callable[[], None]]] = [
            ("every environment is synced", self._sync),
            (f"{OPERATOR} signs in", lambda: self._sign_in(OPERATOR)),
            (f"crm-data-acquisition runs in {self._open} until Completed", self._acquire),
            (f"long-haul starts in {self._open} and is cancelled with a reason", self._cancel),
            *((f"{CLOSED} in {name} is refused without a grant", self._refused(name)) for name in self._protected),
            (f"{VIEWER} signs in", lambda: self._sign_in(VIEWER)),
            (f"{CLOSED} in {self._open} is refused without a grant", self._refused(self._open)),
            ("the audit trail is intact", self._verify),
        ]
        try:
            return all(self._step(what, act) for what, act in steps)
        finally:
            self._browser.close()

    def _step(self, what: str, act: Callable[[], None]) -> bool:
        began = time.monotonic()
        try:
            act()
        except (Failed, LookupError, ValueError, httpx.HTTPError) as error:
            self._say(f"FAILED  {what}: {error}")
            return False
        self._say(f"ok      {what} … {time.monotonic() - began:.1f} s")
        return True

    def _sync(self) -> None:
        self._until(self._stack.supervisor.is_up, "every part is up")
        if unsynced := await_first_sync(self._stack, self._open, *self._protected, patience=PATIENCE):
            raise Failed(f"{', '.join(unsynced)} not synced in {PATIENCE:.0f} s")

    def _sign_in(self, name: str) -> None:
        # A new session, so that nothing of the previous user's is left.
        self._browser.close()
        self._browser = Browser(self._stack.address)
        password = next(it["password"] for it in self._stack.accounts() if it["name"] == name)
        page = self._browser.get("/admin/login/?next=/admin/")
        page = page.send("/admin/login/", username=name, password=password)
        if (page.status, page.address) != (httpx.codes.OK, "/admin/"):
            raise Failed(f"came to {page.address}, HTTP {page.status}")

    def _acquire(self) -> None:
        request = self._ask("crm-data-acquisition", self._open, snapshot_month=MONTH)
        self._must_end(request, "COMPLETED")

    def _cancel(self) -> None:
        request = self._ask("long-haul", self._open)
        run = self._await_run(request, {"RUNNING", *OVER})["id"]
        page = self._browser.get(f"{RUNS}{run}/change/")
        page.send(f"{RUNS}{run}/cancel/", reason="Smoke test")
        self._must_end(request, "CANCELLED")

    def _must_end(self, request: int, state: str) -> None:
        run = self._await_run(request, OVER)
        if run["state"] != state:
            raise Failed(f"the run {run['name']} ended as {run['label']}")

    def _refused(self, environment: str) -> Callable[[], None]:
        def act() -> None:
            page = self._browser.get(f"{DEPLOYMENTS}{self._deployment(CLOSED, environment)}/run/")
            if page.status not in {httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND}:
                raise Failed(f"the form answered HTTP {page.status}")

        return act

    def _verify(self) -> None:
        done = subprocess.run(
            self._stack.manage("verify_audit"),
            env=self._stack.environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Failed(done.stderr.strip())

    def _ask(self, name: str, environment: str, **values: str) -> int:
        """Submit the run form and return the id of the request."""
        address = f"{DEPLOYMENTS}{self._deployment(name, environment)}/run/"
        page = self._browser.get(address).send(address, **values)
        found = re.fullmatch(rf"{REQUESTS}(\d+)/change/", page.address)
        if not found:
            raise Failed(f"the form came back at {page.address}, HTTP {page.status}: {_shown(page)}")
        return int(found[1])

    def _deployment(self, name: str, environment: str) -> int:
        """Return the id of a deployment from its row in the list."""
        page = self._browser.get(f"{DEPLOYMENTS}?q={name}")
        for row in page.html.split("<tr")[1:]:
            link = re.search(rf"{DEPLOYMENTS}(\d+)/change/", row)
            # Not a plain `in`: "dev" is also part of "dev-eu" and of deployment names.
            if link and re.search(rf"(?<![\w-]){environment}(?![\w-])", text_of(f"<tr{row}")):
                return int(link[1])
        raise Failed(f"the list shows no {name} in {environment}")

    def _await_run(self, request: int, states: set[str]) -> RunStatus:
        """Wait until the run of a request is in one of these states."""
        seen: list[RunStatus] = []

        def reached() -> bool:
            status = self._status(request)
            if status["is_over"] and status["run"] is None:
                raise Failed(f"request {request} is {status['label']}: {status['sentence']}")
            if status["run"] and status["run"]["state"] in states:
                seen.append(status["run"])
            return bool(seen)

        self._until(reached, f"the run of request {request} is {' or '.join(sorted(states))}")
        return seen[0]

    def _status(self, request: int) -> RequestStatus:
        page = self._browser.get(f"{REQUESTS}{request}/status.json")
        if page.status != httpx.codes.OK:
            raise Failed(f"the status of request {request} answered HTTP {page.status}")
        found: RequestStatus = page.answer.json()
        return found

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until `holds` returns True; raises `Failed` after `PATIENCE`."""
        # The supervisor has no thread of its own: while this waits, it has to go on watching its parts.
        deadline = time.monotonic() + PATIENCE
        reached = False

        def done() -> bool:
            nonlocal reached
            reached = holds()
            return reached or time.monotonic() > deadline

        self._stack.supervisor.watch(until=done)
        if not reached:
            raise Failed(f"waited {PATIENCE:.0f} s until {what}")


def _shown(page: Page) -> str:
    return text_of(page.html)[-300:]

"""Tests a running stack over HTTP as its people use it, with the client and a token: `manage.py demo --check`."""

import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx

from portal.client import Event, Forbidden, LogLine, NotFound, Portal, PortalError
from portal.demo.browser import Browser
from portal.demo.processes import ROOT
from portal.demo.stack import Stack, await_first_sync

OPERATOR, VIEWER = "otto", "vera"
ACQUIRE, LONG = "crm-data-acquisition", "long-haul"
MONTH = "2017-06"
# The operator has no grant to run this deployment in a protected environment, the viewer has none anywhere.
CLOSED = "heartbeat"
# Seconds for each step. A flow run starts a Python process, which takes 10 s and more on a busy machine.
PATIENCE = 120.0


class Failed(Exception):
    """A step failed; the message tells what was found instead."""


class SmokeTest:
    """Runs a flow, follows what happens, cancels another, checks refusals, and verifies the audit trail."""

    def __init__(self, stack: Stack, say: Callable[[str], None]) -> None:
        self._stack = stack
        self._say = say
        self._open, *self._protected = [prefect.name for prefect in stack.prefects]
        self._portals: list[Portal] = []
        self._events: list[Event] = []

    def run(self) -> bool:
        """Run all steps, print each, and stop at the first that fails; return whether all passed."""
        # A list, not a generator of results: `all` must stop at the first failure, later steps depend on earlier ones.
        steps: list[tuple[str, Callable[[], None]]] = [
            ("every environment is synced", self._sync),
            (f"{OPERATOR} signs in on the page", self._sign_in),
            (f"{OPERATOR} lists the deployments with a token", self._list),
            (f"{ACQUIRE} runs in {self._open} until Completed, with its log", self._acquire),
            ("the events of the run arrive", self._follow),
            (f"{LONG} starts in {self._open} and is cancelled with a reason", self._cancel),
            *(
                (f"{CLOSED} in {name} is refused without a grant", self._refused(OPERATOR, name))
                for name in self._protected
            ),
            (f"{CLOSED} in {self._open} is refused to {VIEWER}", self._refused(VIEWER, self._open)),
            ("the audit trail is intact", self._verify),
        ]
        try:
            return all(self._step(what, act) for what, act in steps)
        finally:
            for portal in self._portals:
                portal.close()

    def _step(self, what: str, act: Callable[[], None]) -> bool:
        began = time.monotonic()
        try:
            act()
        except (Failed, PortalError, OSError, LookupError, ValueError, httpx.HTTPError) as error:
            self._say(f"FAILED  {what}: {error}")
            return False
        self._say(f"ok      {what} … {time.monotonic() - began:.1f} s")
        return True

    def _sync(self) -> None:
        self._until(self._stack.supervisor.is_up, "every part is up")
        if unsynced := await_first_sync(self._stack, self._open, *self._protected, patience=PATIENCE):
            raise Failed(f"{', '.join(unsynced)} not synced in {PATIENCE:.0f} s")

    def _sign_in(self) -> None:
        browser = Browser(self._stack.address)
        try:
            password = next(it["password"] for it in self._stack.accounts() if it["name"] == OPERATOR)
            page = browser.get("/admin/login/?next=/admin/")
            page = page.send("/admin/login/", username=OPERATOR, password=password)
        finally:
            browser.close()
        if (page.status, page.address) != (httpx.codes.OK, "/admin/"):
            raise Failed(f"came to {page.address}, HTTP {page.status}")

    def _list(self) -> None:
        portal = self._portal(OPERATOR)
        if (user := portal.me().user) != OPERATOR:
            raise Failed(f"the token is of {user}")
        names = {row.name.partition("/")[0] for row in portal.deployments(self._open)}
        if missing := {ACQUIRE, LONG, CLOSED} - names:
            raise Failed(f"{', '.join(sorted(missing))} not listed")
        # From here on, so that the run below is in it.
        self._in_background(self._collect_events)

    def _acquire(self) -> None:
        portal, lines = self._portal(OPERATOR), list[LogLine]()
        change = portal.run(self._open, ACQUIRE, {"snapshot_month": MONTH}, reason="Smoke test")
        ended = self._meanwhile(lambda: portal.wait(change, timeout=PATIENCE, on_log=lines.append))
        (request,) = ended.requests
        if (request.state, request.run_state) != ("completed", "COMPLETED"):
            raise Failed(f"request {request.id} is {request.state_name}. {request.message}")
        if not lines:
            raise Failed("the log has no lines")

    def _follow(self) -> None:
        def arrived() -> bool:
            return any(each.kind == "run moved" and each.data.get("state") == "COMPLETED" for each in self._events)

        self._until(arrived, "the end of the run is among the events")

    def _cancel(self) -> None:
        portal = self._portal(OPERATOR)
        (request,) = portal.run(self._open, LONG, reason="Smoke test").requests
        self._until(lambda: portal.request(request.id).run_state == "RUNNING", f"the run of request {request.id} runs")
        run = portal.run_status(portal.request(request.id))
        action = self._meanwhile(lambda: portal.wait(portal.cancel(run, "Smoke test"), timeout=PATIENCE))
        if action.state != "done":
            raise Failed(f"the cancellation is {action.state}. {action.message}")
        ended = self._meanwhile(lambda: portal.wait(request, timeout=PATIENCE))
        if (ended.state, portal.run_status(run).state) != ("cancelled", "CANCELLED"):
            raise Failed(f"request {ended.id} is {ended.state_name}")

    def _refused(self, name: str, environment: str) -> Callable[[], None]:
        def act() -> None:
            try:
                change = self._portal(name).run(environment, CLOSED, reason="Smoke test")
            except (Forbidden, NotFound):
                return
            raise Failed(f"request {change.id} was accepted")

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

    def _portal(self, name: str) -> Portal:
        """Return a client with the token of an account."""
        portal = Portal(self._stack.address, (self._stack.folder.tokens / name).read_text())
        self._portals.append(portal)
        return portal

    def _collect_events(self) -> None:
        try:
            for event in self._portal(OPERATOR).events(self._open, follow=True):
                self._events.append(event)
        except (PortalError, RuntimeError):
            return  # the step that waits for them says so; at the end the connection is closed

    def _meanwhile[Result](self, act: Callable[[], Result]) -> Result:
        """Return the result of what blocks, while the supervisor goes on watching its parts."""
        results: list[Result] = []
        errors: list[Exception] = []

        def work() -> None:
            try:
                results.append(act())
            except Exception as error:
                errors.append(error)

        thread = self._in_background(work)
        self._until(lambda: not thread.is_alive(), "an answer", patience=PATIENCE + 10)
        if errors:
            raise errors[0]
        return results[0]

    def _in_background(self, act: Callable[[], Any]) -> threading.Thread:
        # A daemon thread: stopping the test does not wait for it.
        thread = threading.Thread(target=act, daemon=True)
        thread.start()
        return thread

    def _until(self, holds: Callable[[], bool], what: str, *, patience: float = PATIENCE) -> None:
        """Wait until `holds` returns True; raises `Failed` after `patience`."""
        # The supervisor has no thread of its own: while this waits, it has to go on watching its parts.
        deadline = time.monotonic() + patience
        reached = False

        def done() -> bool:
            nonlocal reached
            reached = holds()
            return reached or time.monotonic() > deadline

        self._stack.supervisor.watch(until=done)
        if not reached:
            raise Failed(f"waited {patience:.0f} s until {what}")

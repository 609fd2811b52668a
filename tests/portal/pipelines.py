"""Runs the steps of a composite action and the script of a GitLab job, as their runners do, beside a portal."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import yaml
from django.test import Client

from portal.demo.processes import ROOT

EXPRESSION = re.compile(r"\$\{\{\s*(inputs|steps\.run\.outputs)\.(\w+)\s*\}\}")
ACTION = ".github/actions/portal-run"
PATIENCE = 180.0


class Shell:
    """What a runner offers to a job: a folder, its variables, and nothing of the developer's environment."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        # The client is built and installed from the copy, with what is installed here in place of a package index.
        bins = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        offline = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}
        self.variables = {
            "PATH": bins,
            "HOME": str(folder),
            "PYTHONPATH": sysconfig.get_path("purelib"),
            **offline,
            **variables,
        }
        self.printed = ""

    def run(self, script: str, serve: Callable[[], None], **variables: str) -> int:
        """Run one script as `shell: bash` does, answering requests meanwhile; return its exit code."""
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        log = self.folder / "printed.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.variables | variables, stdout=file, stderr=subprocess.STDOUT
            )
            ends = time.monotonic() + PATIENCE
            while process.poll() is None:
                serve()
                if time.monotonic() > ends:
                    process.kill()
        self.printed += log.read_text()
        return process.returncode


@dataclass
class Finished:
    """How a job ended: exit code, outputs, and all that it printed."""

    code: int
    outputs: dict[str, str]
    printed: str


def copy_of_checkout(folder: Path) -> Path:
    """Copy what a runner has of the repository."""
    for name in (".github", ".gitlab", "portal/client"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    return folder


def run_action(given: dict[str, Any], checkout: Path, serve: Callable[[], None], **runner: str) -> Finished:
    """Run the composite action with these inputs, in a runner with these variables."""
    action = yaml.safe_load((checkout / ACTION / "action.yml").read_text())
    assert set(given) <= set(action["inputs"])
    inputs = {name: str(given.get(name, described.get("default", ""))) for name, described in action["inputs"].items()}
    output = checkout / "output.txt"
    output.write_text("")
    shell = Shell(
        checkout,
        RUNNER_TEMP=str(checkout / "temp"),
        GITHUB_OUTPUT=str(output),
        GITHUB_ACTION_PATH=str(checkout / ACTION),
        **runner,
    )
    (checkout / "temp").mkdir(exist_ok=True)
    code = 0
    for step in action["runs"]["steps"]:
        assert step["shell"] == "bash"
        # Installed once for all tests of a file: it takes longer than what they are about.
        if "pip install" in step["run"] and (checkout / "temp/portal-client/bin/portal").exists():
            continue
        # The runner replaces expressions in the text of a script as well, where they would be commands.
        assert "${{" not in step["run"]
        values = {
            name: EXPRESSION.sub(lambda found: inputs[found[2]], text) for name, text in step.get("env", {}).items()
        }
        code = shell.run(step["run"], serve, **values)
        if code:
            break
    outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
    assert set(outputs) <= set(action["outputs"])
    return Finished(code, outputs, shell.printed)


def run_gitlab(
    job: dict[str, Any], checkout: Path, serve: Callable[[], None], token: Callable[[str], str], **runner: str
) -> Finished:
    """Run a job that extends the template; `token` makes the job token for an audience."""
    template = yaml.safe_load((checkout / ".gitlab/portal-run.yml").read_text())[job["extends"]]
    variables = {**template["variables"], **job["variables"], **runner}
    tokens = {**template["id_tokens"], **job.get("id_tokens", {})}
    for name, described in tokens.items():
        variables[name] = token(re.sub(r"\$(\w+)", lambda found: variables[found[1]], described["aud"]))
    shell = Shell(checkout, **variables)
    # One script, as of a runner.
    code = shell.run("\n".join([*template["before_script"], *template["script"]]), serve)
    return Finished(code, {}, shell.printed)


@contextmanager
def portal_on_a_port(between: Callable[[], None]) -> Iterator[tuple[str, Callable[[], None]]]:
    """Serve the whole application on a free port, in this thread and so in the transaction of the test.

    Yields its address, and what answers the next request, if there is one; `between` is called after each.
    """
    application = Client(enforce_csrf_checks=True, raise_request_exception=False)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            names = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            found = application.generic(
                self.command, self.path, body, content_type=self.headers.get("Content-Type", ""), headers=names
            )
            self.send_response(found.status_code)
            for name, value in found.headers.items():
                if name != "Content-Length":
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(found.content)))
            self.end_headers()
            self.wfile.write(found.content)

        do_GET = do_POST = answer

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.timeout = 0.1

    def serve() -> None:
        server.handle_request()
        between()

    try:
        yield f"http://127.0.0.1:{server.server_port}", serve
    finally:
        server.server_close()

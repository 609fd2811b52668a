"""Times that people give to services: each must be one moment."""

from __future__ import annotations

from datetime import datetime

from flows import canonical, local_time
from runs.errors import Refused


def read(text: str) -> datetime | None:
    """Parse a typed date and time; None if empty. Raises `Refused` with a code `time.…`."""
    if not text.strip():
        return None
    try:
        return local_time.read(text)
    except local_time.Skipped as error:
        raise Refused("time.skipped", str(error)) from error
    except local_time.Repeated as error:
        raise Refused("time.repeated", str(error)) from error
    except local_time.NotATime as error:
        raise Refused("time.format", str(error)) from error


def in_utc(given: datetime) -> datetime:
    """Return the time in UTC, as it is stored and hashed."""
    try:
        return canonical.moment(given)
    except OverflowError as error:
        raise Refused("time.format", "This time is outside the years that can be stored.") from error
    except ValueError as error:
        raise Refused("time.no_offset", "A time without a UTC offset is ambiguous. Add the offset.") from error

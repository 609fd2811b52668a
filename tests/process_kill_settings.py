"""The portal's settings with a Prefect of another process: for what `tests.process_kills` starts."""

from portal.settings import *  # noqa: F403

PREFECT_CLIENT = "tests.shared_prefect.connect"

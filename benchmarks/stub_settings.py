"""The portal's settings with a Prefect that answers slowly, or not: for processes that `benchmarks.backlog` starts."""

from portal.settings import *  # noqa: F403

PREFECT_CLIENT = "benchmarks.stub_prefect.connect"

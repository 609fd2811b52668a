"""The portal's settings with a Prefect that has many runs: for `benchmarks.mirror`."""

from portal.settings import *  # noqa: F403

PREFECT_CLIENT = "benchmarks.mirror_prefect.connect"

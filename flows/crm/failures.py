"""The errors of the pipelines. Each message is one sentence, because Prefect shows it as the state of the run."""


# Failures are no OSErrors: `retries.is_disk_trouble` retries those only.
class Failure(Exception):
    """An error that is never retried: the same input fails the same way."""


class BadMonth(Failure):
    """The month is not valid, or outside the data."""


class BadSource(Failure):
    """A source file is missing or invalid."""


class MissingMonth(Failure):
    """An earlier pipeline has not yet written what this one reads."""


class OutdatedMonth(Failure):
    """What this pipeline reads was made from older tables than the lake has now."""


class BadLake(Failure):
    """The lake cannot be used, or a file in it is damaged."""


class BadChoice(Failure):
    """A parameter of the run has an invalid value."""


class TooFewDeals(Failure):
    """The tables are valid, but have too few deals."""


class SourceAway(OSError):
    """The source's server is unavailable. An OSError and no `Failure`, so that the task is retried."""


class LakeAway(OSError):
    """The lake cannot be read or written. An OSError and no `Failure`, so that the task is retried."""


class FailedChecks(Failure):
    """Blocking data quality checks failed."""

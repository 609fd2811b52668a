"""The ways in which a pipeline refuses, each with one sentence for the person who reads the run."""


class Failure(Exception):
    """Never worth a retry: the same input fails the same way."""


class BadMonth(Failure):
    """The month is not written as a month, or the data does not reach it."""


class BadSource(Failure):
    """A source file is missing, or does not hold what it should."""


class MissingMonth(Failure):
    """An earlier pipeline has not yet made what this one reads."""


class BadLake(Failure):
    """The lake folder cannot be used, or a file in it was damaged."""


class BadChoice(Failure):
    """A parameter of the run asks for something that cannot be done."""


class TooFewDeals(Failure):
    """The tables are sound, and hold too little for what was asked."""


class NoReport(Failure):
    """The program that draws the full report did not."""


class SourceAway(OSError):
    """The address of the source does not answer now; unlike the others, a second try may help."""


class FailedChecks(Failure):
    """The tables are readable, and what they say cannot be true."""

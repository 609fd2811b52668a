"""Parameter schemas: the only place that reads one."""

from .form import ParameterForm
from .schema import fingerprint
from .secret import MASK, join, mask, split
from .values import Invalid, ParameterError, runnable_as_is, validate

__all__ = [
    "MASK",
    "Invalid",
    "ParameterError",
    "ParameterForm",
    "fingerprint",
    "join",
    "mask",
    "runnable_as_is",
    "split",
    "validate",
]

"""Parameter schemas: forms, validation, secrets. The only code that reads a schema."""

from flows.parameters.form import ParameterForm
from flows.parameters.schema import fingerprint
from flows.parameters.secrets import MASK, join, mask, split
from flows.parameters.values import Invalid, ParameterError, runnable_as_is, validate

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

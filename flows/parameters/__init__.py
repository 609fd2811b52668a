"""Parameter schemas: forms, validation, secrets. The only code that reads a schema."""

from flows.parameters.destructive_values import destructive_parameters
from flows.parameters.earlier_values import Earlier
from flows.parameters.form import ParameterForm
from flows.parameters.json_types import parameter_types
from flows.parameters.schema import fingerprint, without
from flows.parameters.secrets import MASK, exposed, join, mask, masked_paths, public_parameters, published, split
from flows.parameters.values import Invalid, ParameterError, runnable_as_is, validate

__all__ = [
    "MASK",
    "Earlier",
    "Invalid",
    "ParameterError",
    "ParameterForm",
    "destructive_parameters",
    "exposed",
    "fingerprint",
    "join",
    "mask",
    "masked_paths",
    "parameter_types",
    "public_parameters",
    "published",
    "runnable_as_is",
    "split",
    "validate",
    "without",
]

"""Python client of the operations portal for Prefect: `Portal`, what it returns, and its errors."""

from .answers import Action, Change, Deployment, DeploymentDetail, Environment, LogLine, Run, RunDetail, RunRequest
from .client_errors import (
    Conflict,
    FieldError,
    Forbidden,
    Invalid,
    Misconfigured,
    NotFound,
    PortalError,
    PortalFailed,
    Problem,
    StillRunning,
    TokenRejected,
    TooManyRequests,
    UnexpectedAnswer,
    Unreachable,
)
from .crm_deployments import CRMDeployments
from .portal_api import Portal
from .rule_answers import AuditEntry, Explanation, Freeze, Grant, Me, WhoCan

__all__ = [
    "Action",
    "AuditEntry",
    "CRMDeployments",
    "Change",
    "Conflict",
    "Deployment",
    "DeploymentDetail",
    "Environment",
    "Explanation",
    "FieldError",
    "Forbidden",
    "Freeze",
    "Grant",
    "Invalid",
    "LogLine",
    "Me",
    "Misconfigured",
    "NotFound",
    "Portal",
    "PortalError",
    "PortalFailed",
    "Problem",
    "Run",
    "RunDetail",
    "RunRequest",
    "StillRunning",
    "TokenRejected",
    "TooManyRequests",
    "UnexpectedAnswer",
    "Unreachable",
    "WhoCan",
]

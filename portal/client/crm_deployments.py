"""Names of the deployments of the CRM pipelines, as aliases or flow names in every environment."""

from __future__ import annotations

from enum import StrEnum


class CRMDeployments(StrEnum):
    DATA_ACQUISITION = "crm-data-acquisition"
    DATA_INGESTION = "crm-data-ingestion"
    MONTHLY_TRAINING = "monthly-win-probability-training"
    REFERENCE_DATA = "reference-data-creation"
    DRIFT_MONITORING = "model-drift-monitoring"

# SPDX-License-Identifier: Apache-2.0
"""The published JSON Schemas, generated from the models that write and read the documents.

Draft 2020-12. Schemas of documents that we read strictly refuse unknown members; the predicate's does not, as in-toto
asks of consumers.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel

from evidencerun.attest.predicate import Predicate
from evidencerun.bundle import layout
from evidencerun.bundle.manifest import Manifest
from evidencerun.bundle.record import RUN_SCHEMA, RunRecord
from evidencerun.ctrf.report import CtrfReport
from evidencerun.snapshot.nodes import NODES_SCHEMA, NodesDocument
from evidencerun.snapshot.report import REPORT_SCHEMA as NODE_REPORT_SCHEMA
from evidencerun.snapshot.report import NodeReport
from evidencerun.validation.plan import PLAN_SCHEMA, Plan
from evidencerun.validation.spec import PolicySpec
from evidencerun.verify.result import REPORT_SCHEMA, VerificationReport

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_BASE: Final = "https://evidencerun.dev/schemas"
_DOCUMENTS: Final[dict[str, tuple[type[BaseModel], str, Literal["validation", "serialization"]]]] = {
    "run-record.v1.json": (RunRecord, RUN_SCHEMA, "validation"),
    "nodes.v1.json": (NodesDocument, NODES_SCHEMA, "validation"),
    "node-report.v1.json": (NodeReport, NODE_REPORT_SCHEMA, "validation"),
    "plan.v1.json": (Plan, PLAN_SCHEMA, "validation"),
    "policy.v1alpha1.json": (PolicySpec, f"{_BASE}/policy/v1alpha1", "validation"),
    "verification-report.v1.json": (VerificationReport, REPORT_SCHEMA, "serialization"),
    "predicate.v3.json": (Predicate, f"{_BASE}/recipe-evidence-predicate/v3", "validation"),
    "manifest.v1.json": (Manifest, f"{_BASE}/manifest/v1", "validation"),
    "ctrf-report.json": (CtrfReport, f"{_BASE}/ctrf-report/v1", "validation"),
}


def schemas() -> dict[str, bytes]:
    """Return the schemas by file name, as they stand in docs/spec."""
    return {name: layout.document_bytes(_schema(*document)) for name, document in sorted(_DOCUMENTS.items())}


def _schema(model: type[BaseModel], identity: str, mode: Literal["validation", "serialization"]) -> dict[str, Any]:
    return {"$schema": _DIALECT, "$id": identity, **model.model_json_schema(by_alias=True, mode=mode)}

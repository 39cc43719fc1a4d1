# SPDX-License-Identifier: Apache-2.0
"""A verification report as JSON (schema `verification-report/v1`): ASCII only, so that no terminal is led astray."""

from __future__ import annotations

import json

from evidencerun.verify.result import VerificationReport


def render_json(report: VerificationReport) -> str:
    """Return the report as JSON text with two-space indentation and a final newline."""
    return json.dumps(report.model_dump(mode="json", by_alias=True), indent=2, sort_keys=True) + "\n"

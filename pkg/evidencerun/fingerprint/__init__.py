# SPDX-License-Identifier: Apache-2.0
"""What a cluster is, recomputed from measurements, and how it compares with a recipe."""

from evidencerun.fingerprint.build import fingerprint
from evidencerun.fingerprint.match import DimensionMatch, MatchResult, Outcome, Overall
from evidencerun.fingerprint.model import Facet, Fingerprint, Status

__all__ = [
    "DimensionMatch",
    "Facet",
    "Fingerprint",
    "MatchResult",
    "Outcome",
    "Overall",
    "Status",
    "fingerprint",
]

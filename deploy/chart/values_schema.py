#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the policy's part of the chart's values.schema.json from the model of EvidencePolicy.spec.

The chart hands `policy.pools` and the like to an EvidencePolicy. A misspelt field in there would be dropped by the API
server without a word, so the schema of the values refuses it first. The rest of the file is written by hand.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evidencerun.validation.spec import PolicySpec

SCHEMA = Path(__file__).resolve().parents[2] / "charts/evidencerun/values.schema.json"
_PREFIX = "policy."
_LEFT_OUT = ("title", "default")
"""What only readers of documentation want."""


def _plain(node: Any) -> Any:
    """Drop titles and defaults, close objects, and point references to the prefixed names."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _plain(value) for key, value in node.items() if key not in _LEFT_OUT or isinstance(value, dict)}
    if isinstance(node.get("properties"), dict) and node.get("type") == "object":
        kept["properties"] = {name: _plain(child) for name, child in node["properties"].items()}
        kept["additionalProperties"] = False
    if "$ref" in kept:
        kept["$ref"] = kept["$ref"].replace("#/$defs/", f"#/$defs/{_PREFIX}")
    return kept


def definitions() -> dict[str, Any]:
    """The definitions that the model needs, by their prefixed names."""
    found = PolicySpec.model_json_schema(by_alias=True)["$defs"]
    named = {_PREFIX + name: _plain(schema) for name, schema in sorted(found.items())}
    named[_PREFIX + "CatalogEntry"]["properties"]["image"]["pattern"] = "@sha256:[0-9a-f]{64}$"
    # No sealer signs in the other modes yet: runs would wait for a signature that never comes.
    named[_PREFIX + "SigningMode"]["enum"] = ["key", "none"]
    return named


def renewed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The whole schema with the policy's definitions as the model has them now."""
    own = {name: value for name, value in schema["$defs"].items() if not name.startswith(_PREFIX)}
    return {**schema, "$defs": own | definitions()}


def text(path: Path = SCHEMA) -> str:
    """The text of values.schema.json."""
    return json.dumps(renewed(json.loads(path.read_text(encoding="utf-8"))), indent=2) + "\n"


def main() -> int:
    """Write values.schema.json."""
    SCHEMA.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

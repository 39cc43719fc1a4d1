# SPDX-License-Identifier: Apache-2.0
"""From a pydantic model's JSON Schema to a structural schema, the only kind that a CRD may hold.

Rules: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/.
Defaults are dropped on purpose: the API server would store them in every object, and a default that
changes later would split old objects from new ones. They are resolved when the plan is frozen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

_COPIED = (
    "enum",
    "format",
    "maximum",
    "maxItems",
    "maxLength",
    "maxProperties",
    "minimum",
    "minItems",
    "minLength",
    "minProperties",
    "pattern",
    "type",
)
_DESCRIPTION_MAX = 1000


class NotStructuralError(ValueError):
    """A model uses something that no structural schema can say; a mistake of the programmer."""


def structural_schema(model: type[BaseModel]) -> Schema:
    """Return the structural schema of `model`. Raises `NotStructuralError`."""
    raw = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(raw, raw.get("$defs", {}), ())


def _convert(node: Mapping[str, Any], defs: Mapping[str, Any], seen: tuple[str, ...]) -> Schema:
    node, seen = _resolve(node, defs, seen)
    out: Schema = {}
    description = " ".join(str(node.get("description", "")).split())
    if description:
        out["description"] = description[:_DESCRIPTION_MAX]
    for key in _COPIED:
        if key in node:
            out[key] = node[key]
    if "const" in node:
        out["enum"] = [node["const"]]
    _bounds(node, out)
    if out.get("type") == "integer":
        out.setdefault("format", "int64")
    if out.get("type") == "array":
        out["items"] = _convert(node["items"], defs, seen)
    if out.get("type") == "object" or "properties" in node:
        _object(node, out, defs, seen)
    if "type" not in out:
        raise NotStructuralError(f"no type in {sorted(node)} below {' > '.join(seen)}")
    return out


def _resolve(
    node: Mapping[str, Any], defs: Mapping[str, Any], seen: tuple[str, ...]
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Follow references and drop the null of optional members: with us, absent is the only form of absence."""
    while True:
        if "$ref" in node:
            name = node["$ref"].rsplit("/", 1)[-1]
            if name in seen:
                raise NotStructuralError(f"{name} contains itself")
            seen = (*seen, name)
            target = defs[name]
        elif "anyOf" in node:
            kept = [option for option in node["anyOf"] if option.get("type") != "null"]
            if len(kept) != 1:
                raise NotStructuralError(f"a choice of {len(kept)} types below {' > '.join(seen)}")
            target = kept[0]
        elif "oneOf" in node or "allOf" in node or "prefixItems" in node:
            raise NotStructuralError(f"oneOf, allOf or a tuple below {' > '.join(seen)}")
        else:
            return node, seen
        siblings = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
        node = {**target, **siblings}


def _bounds(node: Mapping[str, Any], out: Schema) -> None:
    for bound, flag in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if flag in node:
            out[bound], out[flag] = node[flag], True


def _object(node: Mapping[str, Any], out: Schema, defs: Mapping[str, Any], seen: tuple[str, ...]) -> None:
    out["type"] = "object"
    extra = node.get("additionalProperties")
    if "properties" in node:
        out["properties"] = {name: _convert(child, defs, seen) for name, child in node["properties"].items()}
        if node.get("required"):
            out["required"] = sorted(node["required"])
    elif isinstance(extra, Mapping):
        out["additionalProperties"] = _convert(extra, defs, seen)
    else:
        raise NotStructuralError(f"an object without known members below {' > '.join(seen)}")


def unbounded(schema: Schema, path: str = "") -> list[str]:
    """Return the paths of strings, lists and maps without an upper bound: CEL cost estimation needs all of them."""
    kind = schema.get("type")
    found: list[str] = []
    if kind == "string" and "maxLength" not in schema and "enum" not in schema:
        found.append(path)
    if kind == "array":
        found += [] if "maxItems" in schema else [path]
        found += unbounded(schema["items"], f"{path}[]")
    if kind == "object" and "additionalProperties" in schema:
        found += [] if "maxProperties" in schema else [path]
        found += unbounded(schema["additionalProperties"], f"{path}{{}}")
    for name, child in schema.get("properties", {}).items():
        found += unbounded(child, f"{path}.{name}")
    return found

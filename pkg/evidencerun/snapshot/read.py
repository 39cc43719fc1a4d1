# SPDX-License-Identifier: Apache-2.0
"""Reads snapshots of both generations, strictly, and keeps everything that is in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NoReturn, cast

from evidencerun import limits
from evidencerun.canonical import Plain, parse_yaml
from evidencerun.errors import InputError
from evidencerun.snapshot.document import (
    API_VERSIONS,
    KIND,
    Item,
    Measurement,
    Scalar,
    Snapshot,
    Subtype,
)
from evidencerun.snapshot.yaml_writer import Value

_TOP: Final = frozenset({"kind", "apiVersion", "metadata", "fingerprint", "measurements"})
_MEASUREMENT: Final = frozenset({"type", "subtypes"})
_SUBTYPE: Final = frozenset({"subtype", "data", "context", "items"})
_ITEM: Final = frozenset({"data", "context"})


def load_snapshot(data: bytes) -> Snapshot:
    """Return the snapshot in `data`.

    Kind and apiVersion may be absent, as in AICR's older files; a wrong kind, an unknown apiVersion, values that are
    no scalars where scalars are due and nulls are refused.

    Raises:
        InputError: E1410 to E1413 with the field, what was found and what was expected; the codes of `parse_yaml`
            for bytes that are no strict YAML within the limits.

    """
    plain = parse_yaml(
        data,
        what="the snapshot",
        max_bytes=limits.SNAPSHOT_MAX,
        max_nodes=limits.SNAPSHOT_YAML_NODES_MAX,
        max_depth=limits.SNAPSHOT_DEPTH_MAX,
        max_scalar=limits.SNAPSHOT_SCALAR_MAX,
    )
    document = _map(plain, "document")
    kind = _text(document.get("kind", ""), "kind")
    if kind not in ("", KIND):
        _refuse("E1410", "the document is no snapshot", "kind", f"found {kind[:60]!r}, expected {KIND!r}")
    api_version = _text(document.get("apiVersion", ""), "apiVersion")
    if api_version and api_version not in API_VERSIONS:
        _refuse(
            "E1411",
            "the snapshot has an unknown apiVersion",
            "apiVersion",
            f"found {api_version[:60]!r}, expected one of {', '.join(API_VERSIONS)}",
        )
    if "measurements" not in document:
        _refuse("E1412", "the snapshot has no measurements", "measurements", "found nothing, expected a list")
    return Snapshot(
        kind=kind,
        api_version=api_version,
        metadata=_texts(document.get("metadata", {}), "metadata"),
        stored_fingerprint=_stored(document),
        measurements=tuple(
            _measurement(member, f"measurements[{number}]")
            for number, member in enumerate(_list(document["measurements"], "measurements"))
        ),
        extra=_extra(document, _TOP, ""),
    )


def _stored(document: Mapping[str, Plain]) -> Mapping[str, Value] | None:
    if "fingerprint" not in document:
        return None
    _no_nulls(document["fingerprint"], "fingerprint")
    return cast("Mapping[str, Value]", _map(document["fingerprint"], "fingerprint"))


def _measurement(value: Plain, where: str) -> Measurement:
    document = _map(value, where)
    subtypes = _list(document.get("subtypes", []), f"{where}.subtypes")
    return Measurement(
        type=_named(document, "type", where),
        subtypes=tuple(_subtype(member, f"{where}.subtypes[{number}]") for number, member in enumerate(subtypes)),
        extra=_extra(document, _MEASUREMENT, where),
    )


def _subtype(value: Plain, where: str) -> Subtype:
    document = _map(value, where)
    items = _list(document.get("items", []), f"{where}.items")
    return Subtype(
        name=_named(document, "subtype", where),
        data=_scalars(document.get("data", {}), f"{where}.data"),
        context=_texts(document.get("context", {}), f"{where}.context"),
        items=tuple(_item(member, f"{where}.items[{number}]") for number, member in enumerate(items)),
        extra=_extra(document, _SUBTYPE, where),
    )


def _item(value: Plain, where: str) -> Item:
    document = _map(value, where)
    if unknown := sorted(set(document) - _ITEM):
        _refuse("E1413", "an item has an unknown member", f"{where}.{unknown[0][:60]}", "data and context are known")
    return Item(
        context=_texts(document.get("context", {}), f"{where}.context"),
        data=_scalars(document.get("data", {}), f"{where}.data"),
    )


def _named(document: Mapping[str, Plain], key: str, where: str) -> str:
    name = _text(document.get(key, ""), f"{where}.{key}")
    if not name:
        _refuse("E1412", f"a part of the snapshot has no {key}", f"{where}.{key}", "found nothing, expected a name")
    return name


def _extra(document: Mapping[str, Plain], known: frozenset[str], where: str) -> dict[str, Value]:
    found = {key: value for key, value in document.items() if key not in known}
    for key, value in found.items():
        _no_nulls(value, f"{where}.{key}" if where else key)
    return cast("dict[str, Value]", found)


def _no_nulls(value: Plain, where: str) -> None:
    pending: list[tuple[Plain, str]] = [(value, where)]
    while pending:
        member, place = pending.pop()
        if member is None:
            _refuse("E1413", "the snapshot holds a null", place, "leave out what is absent")
        if isinstance(member, dict):
            pending += [(inner, f"{place}.{key}") for key, inner in member.items()]
        elif isinstance(member, list):
            pending += [(inner, f"{place}[{number}]") for number, inner in enumerate(member)]


def _map(value: Plain, where: str) -> dict[str, Plain]:
    return value if isinstance(value, dict) else _wrong(value, where, "a map")


def _list(value: Plain, where: str) -> Sequence[Plain]:
    return value if isinstance(value, list) else _wrong(value, where, "a list")


def _text(value: Plain, where: str) -> str:
    return value if isinstance(value, str) else _wrong(value, where, "text")


def _texts(value: Plain, where: str) -> dict[str, str]:
    return {key: _text(member, f"{where}.{key}") for key, member in _map(value, where).items()}


def _scalars(value: Plain, where: str) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    for key, member in _map(value, where).items():
        if member is None or isinstance(member, (dict, list)):
            _wrong(member, f"{where}.{key}", "a scalar")
        found[key] = member
    return found


def _wrong(value: Plain, where: str, expected: str) -> NoReturn:
    names = {dict: "a map", list: "a list", str: "text", bool: "a boolean", type(None): "a null"}
    found = names.get(type(value), "a number")
    _refuse("E1413", "the snapshot holds a value of the wrong kind", where, f"found {found}, expected {expected}")


def _refuse(code: str, what: str, where: str, why: str) -> NoReturn:
    raise InputError(code, what, where=where[:300], why=why, fix="take the snapshot again, or correct the document")

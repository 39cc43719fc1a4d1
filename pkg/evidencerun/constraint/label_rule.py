# SPDX-License-Identifier: Apache-2.0
"""The rule of `NodeTopology.gpu-nodes.label`: a label that every GPU node must have, or that none may have.

rule = key "=" value | "!" key
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from evidencerun.constraint.outcome import Outcome, Satisfied, Unknown, UnknownKind, Violated
from evidencerun.constraint.reading import GpuNodeLabels
from evidencerun.errors import InputError

_KEY: Final = re.compile(r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE: Final = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_SHOWN_NODES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRule:
    """`key=value` on every GPU node, or, with `forbidden`, no such key on any. `value` is "" if forbidden."""

    key: str
    value: str
    forbidden: bool

    def __str__(self) -> str:
        return f"!{self.key}" if self.forbidden else f"{self.key}={self.value}"


def parse_label_rule(text: str) -> LabelRule:
    """Return the rule that `text` spells.

    Raises:
        InputError: E1302, if it is neither `key=value` nor `!key` with a Kubernetes label key and value.

    """
    body = text.strip()
    forbidden = body.startswith("!")
    key, separator, value = body[1:].partition("\0") if forbidden else body.partition("=")
    if _KEY.fullmatch(key) and _VALUE.fullmatch(value) and (forbidden or separator):
        return LabelRule(key=key, value=value, forbidden=forbidden)
    raise InputError(
        "E1302",
        f"{text[:80]!a} is no rule for the labels of GPU nodes",
        why="key=value or !key is expected, with a Kubernetes label key and value",
        fix="write it like 'nvidia.com/gpu.present=true' or '!nvidia.com/gpu.deploy.driver'",
    )


def evaluate_label_rule(rule: LabelRule, reading: GpuNodeLabels) -> Outcome:
    """Return whether the rule holds on all GPU nodes; unknown if there are none or the list is incomplete."""
    if not reading.labels:
        return Unknown(kind=UnknownKind.ABSENT, reason="no node is known to be a GPU node")
    wrong = sorted(name for name, labels in reading.labels.items() if not _holds(rule, labels))
    if wrong:
        shown = ", ".join(_found(rule, name, reading.labels[name]) for name in wrong[:_SHOWN_NODES])
        rest = f" and {len(wrong) - _SHOWN_NODES} more" if len(wrong) > _SHOWN_NODES else ""
        return Violated(expected=str(rule), found=shown + rest)
    if not reading.complete:
        return Unknown(kind=UnknownKind.ABSENT, reason="the list of GPU nodes is incomplete")
    return Satisfied(found=f"{len(reading.labels)} GPU nodes")


def _holds(rule: LabelRule, labels: Mapping[str, str]) -> bool:
    return rule.key not in labels if rule.forbidden else labels.get(rule.key) == rule.value


def _found(rule: LabelRule, name: str, labels: Mapping[str, str]) -> str:
    value = labels.get(rule.key)
    return f"{name} without it" if value is None else f"{name} with {rule.key}={value}"

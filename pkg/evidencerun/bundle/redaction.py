# SPDX-License-Identifier: Apache-2.0
"""Redaction `minimal`: what may leave the cluster in a bundle (docs/spec §5).

Identifiers are replaced by an HMAC-SHA256 under a key that stays in the store, so that equal stays equal and nothing
can be looked up. Node readings are an allow-list. A value that fingerprint, match or a constraint uses is never
removed. What fired is counted per rule, because a list of rules says nothing about what happened.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

from evidencerun import limits
from evidencerun.fingerprint.accelerator_signals import KFD_SIGNAL, NAME_SIGNALS
from evidencerun.fingerprint.labels import USED
from evidencerun.snapshot.nodes import NodeEntry
from evidencerun.snapshot.report import NodeFacts, NodeReport, Scalar, Signal, SourceResult, UnknownReason

POLICY: Final = "minimal"
VERSION: Final = "evidencerun/v1"
_HASH_DIGITS: Final = 12
REPLACED: Final = re.compile(r"(?:(?:n[0-9]{5}-)?(?:node|id)-[0-9a-f]{12})?")
"""What redaction leaves of an identifier: nothing, or the HMAC that stands for it."""
_HOSTNAME_LABELS: Final = frozenset({"kubernetes.io/hostname", "node.kubernetes.io/hostname"})
_WORD: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_MEASURED_LABELS: Final = ("feature.node.kubernetes.io/", "nvidia.com/", "amd.com/", "kubernetes.io/os")
"""Labels whose values are readings: a node may happen to be called `ubuntu`."""
_VALUES: Final = frozenset({*NAME_SIGNALS, KFD_SIGNAL})
"""Signals whose raw text is a value of the fingerprint."""
_REASONS: Final = frozenset(UnknownReason)
_PATTERNS: Final = {
    "uuid": re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"),
    "ipv4": re.compile(r"(?<![0-9.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9.])"),
    "mac": re.compile(r"\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b"),
}

KEPT_READINGS: Final[Mapping[str, re.Pattern[str]]] = {
    "OS.release": re.compile(
        r"ID|ID_LIKE|NAME|PRETTY_NAME|VERSION|VERSION_ID|VERSION_CODENAME|VARIANT_ID|BUILD_ID|IMAGE_ID|IMAGE_VERSION"
    ),
    "OS.sysctl": re.compile(r"(?:/proc/sys/)?kernel[./]osrelease"),
    "OS.kmod": re.compile(r"nvidia\w*|amdgpu|amdkfd|nouveau|gdrdrv|mlx5_\w+|ib_\w+|rdma_\w+|efa|gpu_sched|knem"),
    "GPU.hardware": re.compile(r"(?!.*(?:uuid|serial|bus|pci\.|hostname))[A-Za-z0-9._/ -]{1,64}"),
    "GPU.smi": re.compile(r"(?!.*(?:uuid|serial|bus|pci\.|hostname|process|pid))[A-Za-z0-9._/ -]{1,64}"),
}
"""Keys that are kept of each subtype, beside those that a constraint of the recipe names."""


class Redactor:
    """Replaces identifiers consistently and counts what it does. One per bundle.

    `key` is the run's redaction key, at least 16 bytes; `constraint_paths` are the paths that the recipe's constraints
    read (`OS.sysctl./proc/sys/vm/nr_hugepages`), whose values are kept.
    """

    def __init__(self, key: bytes, *, constraint_paths: Iterable[str] = ()) -> None:
        if len(key) < 16:
            raise ValueError("the redaction key is shorter than 16 bytes")
        self._key = key
        self._paths = frozenset(constraint_paths)
        self._known: dict[str, str] = {}
        self.fired: Counter[str] = Counter()

    def learn(self, nodes: Iterable[NodeEntry]) -> None:
        """Get to know the identifiers of all nodes, which come sorted by uid; before any of them is replaced."""
        named: list[tuple[str, str]] = []
        for entry in nodes:
            self._learn(entry)
            named.append((entry.facts.name, entry.facts.uid))
        # After all the others: what a node reports of itself may be the name or the uid of another one.
        for rank, (name, uid) in enumerate(named):
            self._known[name] = self._token("node", name)
            # The rank keeps the order of the nodes, on which the first of several equal sources depends.
            self._known[uid] = f"n{rank:05d}-{self._token('id', uid)}"

    def text(self, text: str) -> str:
        """Return free text with node names, their other identifiers, UUIDs, IPv4 and MAC addresses replaced.

        What replaces is longer than some of what it replaces, so the text is cut where a document's limit is.
        """
        return _WORD.sub(self._word, self._patterns(text))[: limits.REPORT_VALUE_MAX]

    def _reason(self, text: str) -> str:
        """Return why something is unknown; the word that says it is no identifier, whatever a node is called."""
        word, colon, rest = text.partition(":")
        return (
            f"{word}{colon}{self.text(rest)}"[: limits.REPORT_VALUE_MAX]
            if word.strip() in _REASONS
            else self.text(text)
        )

    def _patterns(self, text: str) -> str:
        for kind, pattern in _PATTERNS.items():
            text = pattern.sub(partial(self._hash, kind), text)
        return text

    def _word(self, found: re.Match[str]) -> str:
        replaced = self._known.get(found.group())
        if replaced is None:
            return found.group()
        self.fired["text.hash:identifier"] += 1
        return replaced

    def _hash(self, kind: str, found: re.Match[str]) -> str:
        value = found.group()
        self.fired[f"text.hash:{kind}"] += 1
        return self._known.get(value) or self._token("id", value)

    def _token(self, prefix: str, value: str) -> str:
        digest = hmac.new(self._key, f"{prefix}\0{value}".encode(), hashlib.sha256).hexdigest()
        return f"{prefix}-{digest[:_HASH_DIGITS]}"

    def _learn(self, entry: NodeEntry) -> None:
        facts = entry.facts
        for value in (facts.boot_id, facts.machine_id, facts.system_uuid, entry.pod_uid, entry.boot_id):
            if value:
                self._known[value] = self._token("id", value)
        for label in _HOSTNAME_LABELS & facts.labels.keys():
            self._known.setdefault(facts.labels[label], self._token("node", facts.labels[label]))
        instance = facts.provider_id.rpartition("/")[2]
        if instance:
            self._known.setdefault(instance, self._token("id", instance))

    def _identifier(self, rule: str, value: str) -> str:
        if not value:
            return value
        self.fired[rule] += 1
        return self._known.get(value) or self._token("id", value)

    def entry(self, entry: NodeEntry) -> NodeEntry:
        """Return a node with its identifiers replaced and readings outside the allow-list dropped."""
        return entry.model_copy(
            update={
                "facts": self._facts(entry.facts),
                "reason": self._reason(entry.reason),
                "report": self._report(entry.report) if entry.report else None,
                "pod_uid": self._identifier("nodes.hash:podUid", entry.pod_uid),
            }
        )

    def _facts(self, facts: NodeFacts) -> NodeFacts:
        return facts.model_copy(
            update={
                "uid": self._identifier("nodes.hash:uid", facts.uid),
                "name": self._identifier("nodes.hash:name", facts.name),
                "provider_id": self.provider_id(facts.provider_id),
                "boot_id": self._identifier("nodes.hash:bootId", facts.boot_id),
                "machine_id": self._identifier("nodes.hash:machineId", facts.machine_id),
                "system_uuid": self._identifier("nodes.hash:systemUuid", facts.system_uuid),
                "labels": {key: self._label(key, value, facts.name) for key, value in facts.labels.items()},
            }
        )

    def provider_id(self, value: str) -> str:
        """Return the provider id with its scheme, which names the cloud, and the rest replaced."""
        scheme, separator, rest = value.partition("://")
        if not separator:
            hidden = self._identifier("nodes.hash:providerId", value)
            # Oracle's ids have no scheme: this prefix is the word that names the cloud.
            return f"ocid1.{hidden}" if value.startswith("ocid1.") else hidden
        if not rest:
            return value
        self.fired["nodes.hash:providerId"] += 1
        return f"{scheme}://{self._token('id', rest)}"

    def _label(self, key: str, value: str, name: str) -> str:
        own_name = value == name and key not in USED and not key.startswith(_MEASURED_LABELS)
        return self._identifier("nodes.hash:hostnameLabel", value) if key in _HOSTNAME_LABELS or own_name else value

    def _report(self, report: NodeReport) -> NodeReport:
        return report.model_copy(
            update={
                "node_name": self._identifier("nodes.hash:name", report.node_name),
                "boot_id": self._identifier("nodes.hash:bootId", report.boot_id),
                "sources": [self._source(source) for source in report.sources],
                "signals": {key: [self._signal(s) for s in signals] for key, signals in report.signals.items()},
                "measurements": {
                    address: kept
                    for address, data in report.measurements.items()
                    if (kept := self._readings(address, data))
                },
            }
        )

    def _source(self, source: SourceResult) -> SourceResult:
        return source.model_copy(update={"reason": self._reason(source.reason)})

    def _signal(self, signal: Signal) -> Signal:
        if signal.id in _VALUES:
            return signal
        raw = self.provider_id(signal.raw) if "://" in signal.raw else self._patterns(signal.raw)
        return signal.model_copy(update={"raw": raw[: limits.REPORT_VALUE_MAX]})

    def _readings(self, address: str, data: Mapping[str, Scalar]) -> dict[str, Scalar]:
        pattern = KEPT_READINGS.get(address)
        kept: dict[str, Scalar] = {}
        for key, value in data.items():
            if f"{address}.{key}" in self._paths or (pattern and pattern.fullmatch(key)):
                kept[key] = value
            else:
                self.fired["nodes.measurements.allowlist"] += 1
        return kept

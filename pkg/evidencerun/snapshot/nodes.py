# SPDX-License-Identifier: Apache-2.0
"""nodes.json: every target node with its facts and, where one came, the report of its probe (docs/spec §1).

The document is the raw material of snapshot and fingerprint. It is written with two-space indentation, sorted keys
and a final newline, so that the same nodes give the same bytes. 5,000 nodes have several hundred megabytes, and as
objects several gigabytes: they are written and read one at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Annotated, Final, NoReturn

from pydantic import Field, ValidationError

from evidencerun import limits
from evidencerun.canonical import indented_json, parse_json
from evidencerun.errors import InputError
from evidencerun.snapshot.report import NodeFacts, NodeReport, Text, _Wire

NODES_SCHEMA: Final = "https://evidencerun.dev/schemas/nodes/v1"
HEAD: Final = b'{\n  "nodes": ['
MARGIN: Final = "    "
"""What stands before each line of an entry."""
TAIL: Final = f'],\n  "schema": "{NODES_SCHEMA}"\n}}\n'.encode()


class NodeState(StrEnum):
    """What came of one target node."""

    REPORTED = "reported"
    FAILED = "failed"
    """Its probe ran and could not report."""
    MISSING = "missing"
    """Nothing was heard of it."""


class NodeEntry(_Wire):
    """One target node.

    `facts` is what the plan froze. `report` is present if `state` is reported, and nowhere else; `report_digest` is
    the `sha256:` digest of the report's bytes as the probe sent them. `reason` says in the API's own words why a node
    has not reported. `conflicting_reports` counts later reports that differed from the one kept.
    """

    facts: NodeFacts
    state: NodeState
    reason: Text = ""
    report: NodeReport | None = None
    report_digest: Text = ""
    pod_uid: Text = ""
    received_at: Text = ""
    conflicting_reports: Annotated[int, Field(ge=0)] = 0

    @property
    def boot_id(self) -> str:
        """The kernel's boot id: the probe's word before the kubelet's; empty if neither gave one."""
        return (self.report.boot_id if self.report else "") or self.facts.boot_id

    @property
    def machine(self) -> str:
        """The machine that the node runs on: the same text for nodes that share a kernel."""
        return self.boot_id or f"uid:{self.facts.uid}"

    @property
    def heard(self) -> NodeReport | None:
        """The report if the node counts as reported."""
        return self.report if self.state is NodeState.REPORTED else None


class NodesDocument(_Wire):
    """All target nodes of a run, sorted by uid."""

    document_schema: Annotated[str, Field(alias="schema")] = NODES_SCHEMA
    nodes: list[NodeEntry] = Field(default_factory=list, max_length=limits.NODES_MAX)

    def to_bytes(self) -> bytes:
        """Return the document as it stands in a bundle."""
        return b"".join(node_pieces(sorted(self.nodes, key=lambda entry: entry.facts.uid)))


def nodes_document(entries: list[NodeEntry]) -> NodesDocument:
    """Return the document of these nodes, sorted by uid.

    Raises:
        ValueError: two entries have the same uid, or an entry's report and state contradict each other.

    """
    return NodesDocument(nodes=list(in_order(sorted(entries, key=lambda entry: entry.facts.uid))))


def node_pieces(entries: Iterable[NodeEntry]) -> Iterator[bytes]:
    """Yield the bytes of nodes.json, one node at a time.

    Raises:
        ValueError: the nodes are not sorted by uid, or as for `nodes_document`.

    """
    yield HEAD
    before, end = "\n", ""
    for entry in in_order(entries):
        yield f"{before}{MARGIN}{entry_text(entry)}".encode()
        before, end = ",\n", "\n  "
    yield end.encode() + TAIL


def entry_text(entry: NodeEntry) -> str:
    """Return one entry as it stands in nodes.json, without its first margin."""
    without = {"report"} if entry.report is None else None
    return indented_json(entry.model_dump(mode="json", by_alias=True, exclude=without), MARGIN)


def in_order(entries: Iterable[NodeEntry]) -> Iterator[NodeEntry]:
    """Yield the entries; raises `ValueError` for one that is out of order, stands twice, or contradicts itself."""
    last = ""
    for number, entry in enumerate(entries):
        if number and entry.facts.uid <= last:
            same = entry.facts.uid == last
            raise ValueError(f"two entries for the node uid {last!r}" if same else "the nodes are not sorted by uid")
        if (entry.report is not None) is not (entry.state is NodeState.REPORTED):
            raise ValueError(f"node {entry.facts.name!r} is {entry.state} and its report does not fit that")
        last = entry.facts.uid
        yield entry


def refuse_schema(found: str) -> NoReturn:
    """Raise E1420: the document follows another schema."""
    raise InputError(
        "E1420",
        "nodes.json has an unknown schema",
        where="schema",
        why=f"found {found}, expected {NODES_SCHEMA!r}",
        fix="use a version of evr that knows this schema",
    )


def refuse_entry(fault: ValidationError, place: str) -> NoReturn:
    """Raise E1420 with the first place that breaks the schema, below `place`."""
    first = fault.errors()[0]
    raise InputError(
        "E1420",
        "nodes.json does not follow its schema",
        where=place + ".".join(str(part) for part in first["loc"]) or "document",
        why=first["msg"],
        fix="fetch the bundle again; the schema is in docs/spec",
    ) from fault


def load_nodes(data: bytes) -> NodesDocument:
    """Read nodes.json.

    Raises:
        InputError: E1420 for JSON that breaks the schema, with the first place; the codes of `parse_json` for bytes
            that are no strict JSON; E1421 for nodes out of order, twice, or with a report that does not fit the state.

    """
    plain = parse_json(data, what="nodes.json", max_bytes=limits.NODES_DOCUMENT_MAX, max_values=limits.NODES_VALUES_MAX)
    try:
        document = NodesDocument.model_validate(plain)
    except ValidationError as fault:
        refuse_entry(fault, "")
    if document.document_schema != NODES_SCHEMA:
        refuse_schema(repr(document.document_schema[:80]))
    _check_entries(document)
    return document


def _check_entries(document: NodesDocument) -> None:
    try:
        ordered = nodes_document(document.nodes)
    except ValueError as fault:
        raise InputError("E1421", "nodes.json contradicts itself", where="nodes", why=str(fault)) from fault
    if ordered.nodes != document.nodes:
        raise InputError("E1421", "nodes.json is not sorted by uid", where="nodes", fix="sort the nodes by facts.uid")

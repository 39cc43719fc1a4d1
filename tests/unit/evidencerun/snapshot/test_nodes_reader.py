# SPDX-License-Identifier: Apache-2.0
"""Nodes are written and read one at a time, in one form: whatever differs from it by a byte is refused."""

from __future__ import annotations

import io
import tracemalloc

import pytest

from evidencerun import limits
from evidencerun.errors import InputError
from evidencerun.snapshot import nodes_reader
from evidencerun.snapshot.nodes import NodesDocument, load_nodes, node_pieces
from evidencerun.snapshot.nodes_reader import read_nodes


def read(data, *, exact=True):
    return list(read_nodes(io.BytesIO(data), exact=exact))


@pytest.fixture
def document(cluster):
    silent = cluster.node(2, state="missing", reason='}\n    }\\"ä')
    return cluster.nodes(cluster.node(1, pci=cluster.gpus("2330")), silent, cluster.node(3))


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 20])
def test_what_is_written_is_read_in_pieces_of_any_length(document, monkeypatch, chunk):
    monkeypatch.setattr(nodes_reader, "_CHUNK", chunk)
    data = document.to_bytes()
    assert b"".join(node_pieces(document.nodes)) == data
    assert read(data) == document.nodes == load_nodes(data).nodes
    assert read(NodesDocument().to_bytes()) == []


def test_every_byte_of_the_form_counts(document):
    """A changed byte is refused, or it is part of a value: then it is read as another value in the same form."""
    data = document.to_bytes()
    for place in range(0, len(data), 5):
        for instead in (data[place + 1 :], b" " + data[place:], b"\n" + data[place:]):
            changed = data[:place] + instead
            try:
                found = read(changed)
            except InputError:
                continue
            assert NodesDocument(nodes=found).to_bytes() == changed, (place, changed[place - 20 : place + 20])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda data: data[1:], "E1422"),
        (lambda data: data[:-1], "E1422"),
        (lambda data: data + b"\n", "E1422"),
        (lambda data: data.replace(b",\n    {", b"\n  ,\n    {", 1), "E1422"),
        (lambda data: data.replace(b'"state": "missing"', b'"state":  "missing"'), "E1422"),
        (lambda data: data.replace(b"\n", b"\r\n"), "E1422"),
        (lambda data: data.replace(b"nodes/v1", b"nodes/v9"), "E1420"),
        (lambda data: data.replace(b'"state": "missing"', b'"state": "asleep"'), "E1420"),
        (lambda data: data.replace(b"uid-00002", b"uid-00001"), "E1421"),
        (lambda data: data.replace(b"uid-00003", b"uid-00000"), "E1421"),
        (lambda data: data.replace(b'"state": "missing"', b'"state": missing'), "E1106"),
        (lambda data: b"", "E1422"),
        (lambda data: b'{\n  "nodes": [\n' + b" " * 100, "E1422"),
    ],
)
def test_what_is_wrong_is_named(document, change, code):
    with pytest.raises(InputError) as caught:
        read(change(document.to_bytes()))
    assert caught.value.code == code
    assert caught.value.why or code == "E1106"


def test_too_many_nodes_are_refused(document, monkeypatch):
    monkeypatch.setattr(limits, "NODES_MAX", 2)
    with pytest.raises(InputError, match="more than 2 nodes"):
        read(document.to_bytes())


def test_a_node_that_does_not_end_is_refused(document, monkeypatch):
    monkeypatch.setattr(limits, "NODE_ENTRY_MAX", 500)
    monkeypatch.setattr(nodes_reader, "_CHUNK", 100)
    with pytest.raises(InputError, match="too long"):
        read(document.to_bytes())


def test_nodes_out_of_order_are_not_written(document):
    with pytest.raises(ValueError, match="not sorted"):
        list(node_pieces(reversed(document.nodes)))


def test_many_nodes_take_the_memory_of_one(cluster):
    def entries(count):
        readings = {"OS.sysctl": {f"/proc/sys/kernel/setting{number}": str(number) for number in range(400)}}
        return (cluster.node(number, readings=readings) for number in range(count))

    data = b"".join(node_pieces(entries(200)))
    peaks = []
    for some in (data, b"".join(node_pieces(entries(20)))):
        tracemalloc.start()
        assert sum(1 for _ in read_nodes(io.BytesIO(some), exact=True)) in (20, 200)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] < peaks[1] + 4 * nodes_reader._CHUNK

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evidencerun import limits
from evidencerun.constraint import Absent, Conflicting, Value
from evidencerun.errors import InputError
from evidencerun.snapshot.document import Item, Measurement, Snapshot, Subtype
from evidencerun.snapshot.read import load_snapshot
from evidencerun.snapshot.topology import labels_by_node
from evidencerun.snapshot.yaml_writer import write_yaml

REFUSED = Path(__file__).parent / "refused"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KEYS = TEXTS.filter(lambda text: text != "<<")
SCALARS = (
    TEXTS
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)
)
ITEMS = st.builds(
    Item, context=st.dictionaries(KEYS, TEXTS, max_size=3), data=st.dictionaries(KEYS, SCALARS, max_size=3)
)
SUBTYPES = st.builds(
    Subtype,
    name=TEXTS.filter(bool),
    data=st.dictionaries(KEYS, SCALARS, max_size=5),
    context=st.dictionaries(KEYS, TEXTS, max_size=2),
    items=st.lists(ITEMS, max_size=2).map(tuple),
)
SNAPSHOTS = st.builds(
    Snapshot,
    metadata=st.dictionaries(KEYS, TEXTS, max_size=3),
    measurements=st.lists(
        st.builds(Measurement, type=TEXTS.filter(bool), subtypes=st.lists(SUBTYPES, max_size=2).map(tuple)), max_size=3
    ).map(tuple),
)


@given(SNAPSHOTS)
def test_a_snapshot_survives_writing_and_reading(snapshot):
    written = snapshot.to_yaml()
    assert load_snapshot(written) == snapshot
    assert load_snapshot(written).to_yaml() == written


@given(st.dictionaries(KEYS, SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(KEYS, SCALARS, max_size=3)))
def test_another_yaml_reader_finds_the_same_values(document):
    assert yaml.safe_load(write_yaml(document)) == document


def test_nested_lists_and_empty_collections_are_written_unmistakably():
    document = {"a": [[1, [2]], {}, [], {"b": [{"c": {}}]}], "d": {}}
    assert yaml.safe_load(write_yaml(document)) == document


@pytest.mark.parametrize(
    "word", ["yes", "NO", "on", "~", "null", "1.0", "0x1f", ".inf", "2026-11-24", "", " a", "a: b"]
)
def test_text_that_looks_like_something_else_stays_text(word):
    assert yaml.safe_load(write_yaml({"a": word})) == {"a": word}


@pytest.mark.parametrize("path", sorted(REFUSED.glob("*.yaml")), ids=lambda path: path.stem)
def test_defective_snapshots_are_refused_with_the_place(path):
    with pytest.raises(InputError) as caught:
        load_snapshot(path.read_bytes())
    assert caught.value.code in {"E1410", "E1411", "E1412", "E1413", "E1109"}
    assert caught.value.where
    assert caught.value.why


def test_there_are_defective_snapshots():
    assert len(list(REFUSED.glob("*.yaml"))) >= 9


def test_what_a_newer_producer_adds_is_kept():
    text = b"""
kind: Snapshot
apiVersion: aicr.run/v1
zone: {x: [1, a]}
measurements:
  - type: K8s
    new: true
    subtypes:
      - subtype: server
        quality: high
        data: {version: v1.30.0}
"""
    snapshot = load_snapshot(text)
    assert load_snapshot(snapshot.to_yaml()) == snapshot
    assert b"quality: high" in snapshot.to_yaml()
    assert b"new: true" in snapshot.to_yaml()


def test_kind_and_version_may_be_absent_and_stay_absent():
    snapshot = load_snapshot(b"measurements: []\n")
    assert snapshot.to_yaml() == b"measurements: []\n"


def test_the_stored_fingerprint_is_kept_and_is_no_measurement():
    text = b"fingerprint:\n  service: {value: eks}\nmeasurements: []\n"
    snapshot = load_snapshot(text)
    assert snapshot.stored_fingerprint == {"service": {"value": "eks"}}
    assert isinstance(snapshot.reading("K8s.node.provider"), Absent)


def test_a_snapshot_that_is_too_long_is_refused_unread():
    with pytest.raises(InputError):
        load_snapshot(b" " * (limits.SNAPSHOT_MAX + 1))


def test_two_subtypes_of_one_name_that_differ_are_a_conflict():
    data = [Subtype(name="server", data={"version": version}) for version in ("v1.30.0", "v1.31.0")]
    snapshot = Snapshot(measurements=(Measurement(type="K8s", subtypes=tuple(data)),))
    assert snapshot.reading("K8s.server.version") == Conflicting(("v1.30.0", "v1.31.0"))


@pytest.mark.parametrize(
    ("value", "spelled"), [(True, "true"), (False, "false"), (8, "8"), (24.1, "24.1"), (300.0, "300"), ("x", "x")]
)
def test_values_are_spelled_as_constraints_compare_them(value, spelled):
    subtypes = (Subtype(name="release", data={"ID": value}),)
    snapshot = Snapshot(measurements=(Measurement(type="OS", subtypes=subtypes),))
    assert snapshot.reading("OS.release.ID") == Value(spelled)


@pytest.mark.parametrize(
    "name", ["K8s.sever.version", "Deployment.gpu-operator.version", "OS.release.NOPE", "nonsense"]
)
def test_paths_without_a_reading_say_why(name):
    found = Snapshot().reading(name)
    assert isinstance(found, Absent)
    assert found.reason


def test_items_are_selected_by_place_and_by_field():
    items = tuple(Item(context={"name": name}, data={"rank": rank}) for name, rank in (("a", 1), ("b", 2)))
    snapshot = Snapshot(measurements=(Measurement(type="K8s", subtypes=(Subtype(name="slinky-slurm", items=items),)),))
    assert snapshot.reading("K8s.slinky-slurm[1].rank") == Value("2")
    assert snapshot.reading("K8s.slinky-slurm[name=a].rank") == Value("1")
    assert isinstance(snapshot.reading("K8s.slinky-slurm[7].rank"), Absent)


@pytest.mark.parametrize(
    ("data", "labels", "complete"),
    [
        ({"zone": "a|n1,n2"}, {"n1": {"zone": "a"}, "n2": {"zone": "a"}}, True),
        ({"zone.a": "a|n1", "zone.b": "b|n2"}, {"n1": {"zone": "a"}, "n2": {"zone": "b"}}, True),
        ({"zone": "a|n1, n2 (+3 more)"}, {"n1": {"zone": "a"}, "n2": {"zone": "a"}}, False),
        ({"flag": "|n1"}, {"n1": {"flag": ""}}, True),
        ({"odd": "x|y|n1"}, {"n1": {"odd": "x|y"}}, True),
    ],
)
def test_the_legacy_encoding_of_labels_is_read(data, labels, complete):
    assert labels_by_node([Subtype(name="label", data=data)]) == (labels, complete)


@pytest.mark.parametrize("flaw", [{"node-count": 3}, {"truncated": True}, {"node-list": "n1"}])
def test_label_items_that_contradict_themselves_are_incomplete(flaw):
    data = {"node-count": 2, "node-list": "n1,n2", "truncated": False, **flaw}
    _, complete = labels_by_node([Subtype(name="label", items=(Item(context={"key": "k", "value": "v"}, data=data),))])
    assert not complete


@pytest.mark.parametrize("name", ["h100", "gb200"])
def test_real_snapshots_survive_unchanged(test_data, name):
    data = (test_data / f"aicr/v0.9.12/examples/snapshots/{name}.yaml").read_bytes()
    snapshot = load_snapshot(data)
    assert load_snapshot(snapshot.to_yaml()) == snapshot
    plain = yaml.safe_load(snapshot.to_yaml())
    assert plain == yaml.safe_load(data)

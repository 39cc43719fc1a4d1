# SPDX-License-Identifier: Apache-2.0
"""What constraints say about readings: every rule of comparison, and that evaluation always answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidencerun.constraint import (
    Absent,
    Conflicting,
    Constraint,
    GpuNodeLabels,
    Outcome,
    Reading,
    Rule,
    Satisfied,
    Unknown,
    UnknownKind,
    Value,
    Violated,
    evaluate,
    parse,
    parse_label_rule,
)
from evidencerun.constraint.version import Version, parse_version
from evidencerun.errors import InputError


def verdict(outcome: Outcome) -> str:
    match outcome:
        case Satisfied():
            return "satisfied"
        case Violated():
            return "violated"
        case Unknown(kind=kind):
            return kind.value


ROWS = [
    # no operator: the same text, case-sensitive, trimmed
    ("ubuntu", "ubuntu", "satisfied"),
    ("ubuntu", " ubuntu\n", "satisfied"),
    ("ubuntu", "Ubuntu", "violated"),
    ("24.04", "24.4", "violated"),
    ("1.33", "v1.33", "violated"),
    # ordered: as many numbers as the less precise side has
    (">= 1.32.4", "v1.33.5-eks-3025e55", "satisfied"),
    (">= 1.32.4", "v1.30.14-eks-3025e55", "violated"),
    ("<= 1.33", "1.33.9", "satisfied"),
    ("<= 1.33", "1.32", "satisfied"),
    ("<= 1.33", "1.34.0", "violated"),
    ("<= 1.33.5", "1.33.5", "satisfied"),
    ("> 1.33", "1.33.4", "violated"),
    ("> 1.33", "1.34", "satisfied"),
    ("> 1.33", "1.32", "violated"),
    ("< 2", "2.0", "violated"),
    ("< 2", "3.1", "violated"),
    (">= 6.8", "6.8.0-1024-aws", "satisfied"),
    (">= 6.8", "6.14.0-1018-aws-64k", "satisfied"),
    (">= 1.33.0", "1.33.0-rc.1", "satisfied"),
    ("< 2", "1.99", "satisfied"),
    (">= 300", "488.37", "satisfied"),
    (">= 1.2", "1.2+rke2r1", "satisfied"),
    ("> 1.2.3", "1.2.3-gke.1", "satisfied"),
    # ordered: what is no version decides nothing
    (">= 1.2.3.4", "1.2", "uncomparable"),
    (">= abc", "1.2", "uncomparable"),
    (">= 1.2", "abc", "uncomparable"),
    (">= 1.2", "", "uncomparable"),
    (">= 1.2", "1..2", "uncomparable"),
    (">= 1.2", "-1", "uncomparable"),
    (">= 1", "9" * 5000, "uncomparable"),
    (">= 1", "\u0661", "uncomparable"),
    # equality: versions where the wanted text looks like one and both parse, missing numbers as 0
    ("== 1.33", "1.33.4", "violated"),
    ("== 1.33", "1.33.0", "satisfied"),
    ("== 1.0.0", "1", "satisfied"),
    ("== 1.33.5", "1.33.4", "violated"),
    ("== 0.0", "v0.0", "satisfied"),
    ("== a.b", "a.b", "satisfied"),
    ("== v25.10.1", "25.10.1-anything", "satisfied"),
    ("!= 1.33", "1.33.4", "satisfied"),
    ("!= 1.33", "v1.33", "violated"),
    ("== 1.33", "abc", "violated"),
    ("!= 1.33", "abc", "satisfied"),
    ("== 24", "24.0", "violated"),
    ("== ubuntu", "ubuntu", "satisfied"),
    ("= ubuntu", "debian", "violated"),
    ("!= ubuntu", "debian", "satisfied"),
    # GKE builds
    (">= 1.34.3-gke.100", "1.34.3-gke.100", "satisfied"),
    (">= 1.34.3-gke.100", "1.34.3-gke.99", "violated"),
    (">= 1.34.3-gke.100", "1.34.3-gke.1000", "satisfied"),
    (">= 1.34.3-gke.100", "1.34.3", "violated"),
    (">= 1.34.3-gke.100", "1.34.4", "satisfied"),
    ("<= 1.34.3", "1.34.3-gke.1", "violated"),
    ("<= 1.34", "1.34.3-gke.1", "satisfied"),
    ("<= 1.34.3-gke.100", "1.34.3-gke.100", "satisfied"),
    ("> 1.34.3-gke.100", "1.34.3-gke.100", "violated"),
    ("> 1.34.3-gke.100", "1.34.3-gke.101", "satisfied"),
    (">= 1.34.3-gke.x", "1.34.3-gke.1", "uncomparable"),
    (">= 1.34.3-gke.-1", "1.34.3-gke.1", "uncomparable"),
    (">= 1.34.3-gke.x", "1.35.0", "satisfied"),
    ("== 1.34.3-gke.100", "1.34.3-gke.100", "satisfied"),
    ("== 1.34.3-gke.100", "1.34.3-gke.200", "violated"),
    ("== 1.34.3-gke.200", "1.34.3-gke.100", "violated"),
    ("== 1.34.3-gke.1318000", "1.34.3-gke.1318000", "satisfied"),
    ("== 1.34.3", "1.34.3-gke.200", "satisfied"),
    # and, or
    (">= 1.34 < 1.35", "1.34.9", "satisfied"),
    (">= 1.34 < 1.35", "1.35.0", "violated"),
    (">= 1.34.3-gke.1318000 < 1.35 || >= 1.35.0-gke.2745000", "1.35.0-gke.2745000", "satisfied"),
    (">= 1.34.3-gke.1318000 < 1.35 || >= 1.35.0-gke.2745000", "1.35.0-gke.1", "violated"),
    ("a || b", "b", "satisfied"),
    ("a || b", "c", "violated"),
    # an undecided term: decided by a violated neighbour, or by another alternative
    (">= abc != x", "x", "violated"),
    (">= abc != x", "y", "uncomparable"),
    (">= abc || ubuntu", "ubuntu", "satisfied"),
    (">= abc || ubuntu", "debian", "uncomparable"),
]


@pytest.mark.parametrize(("text", "found", "expected"), ROWS)
def test_outcome_on_a_value(text: str, found: str, expected: str) -> None:
    assert verdict(evaluate(parse(text), Value(found))) == expected


@pytest.mark.parametrize(
    ("text", "ignored"),
    [("1.2", ""), ("1.2-eks-1", "-eks-1"), ("1.2+x", "+x"), ("1.2.3-gke.5", ""), ("1-gke.x", "-gke.x")],
)
def test_what_is_not_compared_is_told(text: str, ignored: str) -> None:
    version = parse_version(text)
    assert isinstance(version, Version)
    assert version.ignored == ignored


def test_violated_names_expected_and_found() -> None:
    assert evaluate(parse(">=1.2"), Value("1.1")) == Violated(expected=">= 1.2", found="1.1")


def test_absent_is_unknown_with_the_reason() -> None:
    outcome = evaluate(parse("!= x"), Absent("no probe reported"))

    assert outcome == Unknown(kind=UnknownKind.ABSENT, reason="no probe reported")


CONFLICTS = [
    ((">= 6.8"), ("6.8.0", "6.14.0"), "satisfied"),
    ((">= 6.8"), ("5.15.0", "5.4.0"), "violated"),
    ((">= 6.8"), ("5.15.0", "6.14.0"), "conflict"),
    ((">= 6.8"), ("abc", "6.14.0"), "conflict"),
    (("ubuntu"), (), "absent"),
    (("ubuntu"), ("ubuntu",), "satisfied"),
]


@pytest.mark.parametrize(("text", "values", "expected"), CONFLICTS)
def test_outcome_where_nodes_disagree(text: str, values: tuple[str, ...], expected: str) -> None:
    assert verdict(evaluate(parse(text), Conflicting(values))) == expected


GPU_NODES = GpuNodeLabels(labels={"n1": {"a": "b"}, "n2": {"a": "c"}})
LABELS = [
    ("a=b", GpuNodeLabels(labels={"n1": {"a": "b"}}), "satisfied"),
    ("a=b", GPU_NODES, "violated"),
    ("a=b", GpuNodeLabels(labels={"n1": {}}), "violated"),
    ("!a", GPU_NODES, "violated"),
    ("!z", GPU_NODES, "satisfied"),
    ("!z", GpuNodeLabels(labels={}), "absent"),
    ("!z", GpuNodeLabels(labels={"n1": {}}, complete=False), "absent"),
    ("!a", GpuNodeLabels(labels={"n1": {"a": ""}}, complete=False), "violated"),
    ("!a", Absent("unknown service"), "absent"),
    ("!a", Value("x"), "unsuited"),
    ("!a", Conflicting(("x", "y")), "unsuited"),
]


@pytest.mark.parametrize(("text", "reading", "expected"), LABELS)
def test_outcome_of_a_label_rule(text: str, reading: Reading, expected: str) -> None:
    assert verdict(evaluate(parse_label_rule(text), reading)) == expected


def test_an_expression_does_not_fit_labels() -> None:
    assert verdict(evaluate(parse("x"), GPU_NODES)) == "unsuited"


@pytest.mark.parametrize(("number", "rest"), [(1, ""), (5, ""), (6, " and 1 more"), (12, " and 7 more")])
def test_violated_label_rule_names_few_nodes(number: int, rest: str) -> None:
    nodes = GpuNodeLabels(labels={f"n{one:02}": {} for one in range(number)})

    outcome = evaluate(parse_label_rule("a=b"), nodes)

    assert isinstance(outcome, Violated)
    assert outcome.found == ", ".join(f"n{one:02} without it" for one in range(min(number, 5))) + rest


READINGS = st.one_of(
    st.text(max_size=20).map(Value),
    st.from_regex(r"v?[0-9.]{1,8}(-gke\.[0-9x]{0,3})?", fullmatch=True).map(Value),
    st.text(max_size=20).map(Absent),
    st.lists(st.text(max_size=5), max_size=3).map(lambda values: Conflicting(tuple(values))),
    st.just(GPU_NODES),
)


@given(st.text(alphabet="><!=| 1.2a-gke", min_size=1, max_size=20), READINGS)
def test_evaluation_always_answers(text: str, reading: Reading) -> None:
    try:
        rule = parse(text)
    except InputError:
        rule = parse("x")
    assert isinstance(evaluate(rule, reading), Satisfied | Violated | Unknown)


@pytest.mark.parametrize(
    ("name", "value", "bare", "rule"),
    [
        ("K8s.server.version", ">= 1.30", False, parse(">= 1.30")),
        ("nccl-all-reduce-bw", ">= 300", False, parse(">= 300")),
        ("inference-model", "a=b", True, parse("a=b")),
        ("NodeTopology.gpu-nodes.label", "a=b", False, parse_label_rule("a=b")),
        ("no such path", "a", False, parse("a")),
    ],
)
def test_a_name_decides_how_its_value_is_read(name: str, value: str, bare: bool, rule: Rule) -> None:
    constraint = Constraint(name=name, value=value)
    assert (constraint.bare, constraint.rule()) == (bare, rule)


def test_a_constraint_on_the_gpu_nodes_has_a_label_rule() -> None:
    constraint = Constraint(name="NodeTopology.gpu-nodes.label", value="!z")

    assert verdict(constraint.evaluate(GPU_NODES)) == "satisfied"

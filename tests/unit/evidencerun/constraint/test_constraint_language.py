# SPDX-License-Identifier: Apache-2.0
"""The constraint language: what parses to what, what is refused, and that printing is parsing's inverse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidencerun.constraint import Clause, Expression, Operator, Term, parse, parse_label_rule
from evidencerun.errors import InputError


def term(operator: str, value: str) -> Term:
    return Term(operator=Operator(operator), value=value)


PARSED = {
    "ubuntu": [[("", "ubuntu")]],
    "  ubuntu ": [[("", "ubuntu")]],
    "Ubuntu 22.04 LTS": [[("", "Ubuntu 22.04 LTS")]],
    "a=b": [[("", "a=b")]],
    ">= 1.32.4": [[(">=", "1.32.4")]],
    ">=1.32.4": [[(">=", "1.32.4")]],
    "= 1.2": [[("==", "1.2")]],
    "==1.2": [[("==", "1.2")]],
    "x" * 1024: [[("", "x" * 1024)]],
    "===x": [[("==", "=x")]],
    ">>x": [[(">", ">x")]],
    "!= a b": [[("!=", "a b")]],
    "h100/eks": [[("", "h100/eks")]],
    ">= 1.34 < 1.35": [[(">=", "1.34"), ("<", "1.35")]],
    "a || b": [[("", "a")], [("", "b")]],
    "a||b": [[("", "a")], [("", "b")]],
    ">= 1.34.3-gke.1318000 < 1.35 || >= 1.35.0-gke.2745000": [
        [(">=", "1.34.3-gke.1318000"), ("<", "1.35")],
        [(">=", "1.35.0-gke.2745000")],
    ],
}
REFUSED = {
    "": "column 1",
    "   ": "column 1",
    ">=": "column 3",
    ">= ": "column 3",
    "a ||": "column 5",
    "|| a": "column 1",
    "a || || b": "column 5",
    "a b c || || d": "column 9",
    "!x": "column 1",
    "a !x": "column 3",
    ">= 1 <": "column 7",
    "a || >= 1 <": "column 12",
    "a ||         >= 1 <": "column 20",
    ">= =1": "column 3",
    "x" * 1025: "column 1",
}


@pytest.mark.parametrize("text", PARSED)
def test_parses(text: str) -> None:
    clauses = [Clause(terms=tuple(term(*pair) for pair in pairs)) for pairs in PARSED[text]]

    assert parse(text) == Expression(clauses=tuple(clauses))


@pytest.mark.parametrize("text", REFUSED)
def test_refuses_with_the_column(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)

    assert (caught.value.code, caught.value.where) == ("E1301", REFUSED[text])


VALUES = st.from_regex(r"[^\s|><!=][^\s|]*( [^\s|><!=][^\s|]*)*", fullmatch=True)
ODD_VALUES = st.from_regex(r"[><!=]?[^\s|><!=][^\s|]*", fullmatch=True)


@st.composite
def terms(draw: st.DrawFn, *, first: bool) -> Term:
    operators = [operator for operator in Operator if first or operator is not Operator.EXACT]
    operator = draw(st.sampled_from(operators))
    # "> =x" would read as ">=" and "x": no text spells such a term.
    value = draw(VALUES if operator in (Operator.EXACT, Operator.MORE, Operator.LESS) else ODD_VALUES)
    return Term(operator=operator, value=value)


@st.composite
def expressions(draw: st.DrawFn) -> Expression:
    clauses = []
    for _ in range(draw(st.integers(1, 3))):
        rest = draw(st.lists(terms(first=False), max_size=2))
        clauses.append(Clause(terms=(draw(terms(first=True)), *rest)))
    return Expression(clauses=tuple(clauses))


@given(expressions())
def test_printing_then_parsing_gives_the_same_tree(expression: Expression) -> None:
    assert parse(str(expression)) == expression


@given(st.text(max_size=60) | st.text(alphabet="><!=| 1.a-", max_size=30))
def test_any_text_parses_stably_or_is_refused(text: str) -> None:
    try:
        expression = parse(text)
    except InputError:
        return
    assert parse(str(expression)) == expression


LABEL_RULES = {
    "nvidia.com/gpu.present=true": ("nvidia.com/gpu.present", "true", False),
    "!nvidia.com/gpu.deploy.driver": ("nvidia.com/gpu.deploy.driver", "", True),
    "a=": ("a", "", False),
    " a=b ": ("a", "b", False),
}
NO_LABEL_RULES = [
    "",
    "=",
    "=b",
    "!",
    "a",
    "a b=c",
    "!a=b",
    "a=b=c",
    "/a=b",
    "a/=b",
    ">= 1",
    "a" * 64 + "=b",
    "a=" + "b" * 64,
]


@pytest.mark.parametrize("text", LABEL_RULES)
def test_label_rule_parses(text: str) -> None:
    rule = parse_label_rule(text)

    assert (rule.key, rule.value, rule.forbidden) == LABEL_RULES[text]
    assert parse_label_rule(str(rule)) == rule


@pytest.mark.parametrize("text", NO_LABEL_RULES)
def test_label_rule_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_label_rule(text)

    assert caught.value.code == "E1302"

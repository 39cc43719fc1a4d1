# SPDX-License-Identifier: Apache-2.0
"""Every right of every account in the rendered chart, compared with the documented table (docs/rights.md)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from evidencerun.checks.readiness import KINDS

Documents = list[dict[str, Any]]
PLACES = {"evidencerun-system": "system", "evidencerun-probes": "probes", "evidencerun-checks": "checks"}
RUNS = ["evidence", "team-b"]


def places() -> dict[str, str]:
    return PLACES | dict.fromkeys(RUNS, "runs")


def difference(rights: ModuleType, documents: Documents, *enabled: str) -> list[str]:
    """What is granted and not allowed, and what is allowed and not granted, in readable lines."""
    granted = rights.granted(documents, places())
    allowed = rights.allowed(rights.load_table(), enabled)
    undocumented = [f"not in rights.yaml: {right}" for right in sorted(granted - allowed)]
    return undocumented + [f"not in the chart: {right}" for right in sorted(allowed - granted)]


def test_chart_grants_exactly_the_documented_rights(rights: ModuleType, render: Callable[..., Documents]) -> None:
    assert difference(rights, render(runNamespaces=RUNS)) == []


def test_wide_rights_add_exactly_the_documented_role(rights: ModuleType, render: Callable[..., Documents]) -> None:
    documents = render(runNamespaces=RUNS, checks={"wideRights": True})
    assert difference(rights, documents, "checks.wideRights") == []


@pytest.mark.parametrize("namespace", RUNS)
def test_every_run_namespace_gets_the_same(
    rights: ModuleType, render: Callable[..., Documents], namespace: str
) -> None:
    one = {right for right in rights.granted(render(runNamespaces=[namespace]), places()) if right.where == "runs"}
    both = {right for right in rights.granted(render(runNamespaces=RUNS), places()) if right.where == "runs"}
    assert one == both
    assert one


def _plant(documents: Documents, kind: str, name: str, rule: dict[str, Any]) -> Documents:
    changed = copy.deepcopy(documents)
    role = next(d for d in changed if d["kind"] == kind and d["metadata"]["name"] == name)
    role["rules"].append(rule)
    return changed


@pytest.mark.parametrize(
    ("kind", "name", "rule"),
    [
        ("Role", "evidence-operator", {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}),
        ("Role", "evidence-operator", {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}),
        ("ClusterRole", "evidence-operator", {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}),
        ("ClusterRole", "evidence-store", {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}),
        ("ClusterRole", "evidence-viewer", {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]}),
    ],
)
def test_a_planted_right_is_found(
    rights: ModuleType, render: Callable[..., Documents], kind: str, name: str, rule: dict[str, Any]
) -> None:
    documents = _plant(render(runNamespaces=RUNS), kind, name, rule)
    assert difference(rights, documents) != []


def test_a_binding_to_a_group_or_to_a_role_of_the_cluster_is_found(rights: ModuleType, documents: Documents) -> None:
    ref = {"kind": "ClusterRole", "name": "cluster-admin"}
    for subject in (
        {"kind": "Group", "name": "evidence-operator"},
        {"kind": "ServiceAccount", "name": "evidence-probe"},
    ):
        planted = {"kind": "ClusterRoleBinding", "metadata": {"name": "x"}, "roleRef": ref, "subjects": [subject]}
        found = difference(rights, [*documents, planted])
        assert any("cluster-admin" in line for line in found)


def test_a_namespace_that_nobody_knows_is_found(rights: ModuleType, documents: Documents) -> None:
    changed = copy.deepcopy(documents)
    binding = next(d for d in changed if d["kind"] == "RoleBinding" and d["metadata"]["namespace"] == "evidence")
    role = next(d for d in changed if d["kind"] == "Role" and d["metadata"]["name"] == binding["roleRef"]["name"])
    binding["metadata"]["namespace"] = role["metadata"]["namespace"] = "kube-system"
    assert any("kube-system" in line for line in difference(rights, changed))


def test_no_account_reads_secrets_and_no_rule_has_a_wildcard(rights: ModuleType, documents: Documents) -> None:
    granted = rights.granted(documents, places())
    assert granted
    for right in granted:
        assert "secrets" not in right.resource, right
        assert "*" not in right.resource + right.verb, right


def test_checks_may_read_every_kind_that_can_be_expected(rights: ModuleType, documents: Documents) -> None:
    readable = {
        right.resource
        for right in rights.granted(documents, places())
        if (right.holder, right.where, right.verb) == ("evidence-check-aicr-read", "cluster", "get")
    }
    wanted = {f"{kind.resource.group or 'core'}/{kind.resource.plural}" for kind in KINDS.values()}
    assert wanted <= readable


def test_every_account_of_the_table_exists_where_it_says(rights: ModuleType, documents: Documents) -> None:
    accounts = {
        d["metadata"]["name"]: PLACES[d["metadata"]["namespace"]] for d in documents if d["kind"] == "ServiceAccount"
    }
    table = rights.load_table()["accounts"]
    assert accounts == {name: account["in"] for name, account in table.items() if "only" not in account}


def test_api_tokens_are_mounted_by_the_operator_and_the_store_alone(documents: Documents) -> None:
    for account in (d for d in documents if d["kind"] == "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False, account["metadata"]["name"]
    mounting = {
        d["metadata"]["name"]
        for d in documents
        if d["kind"] in ("Deployment", "StatefulSet")
        and d["spec"]["template"]["spec"]["automountServiceAccountToken"] is not False
    }
    assert mounting == {"evidence-operator", "evidence-store"}


def test_the_page_is_what_the_table_gives(rights: ModuleType, repository: Path) -> None:
    page = (repository / "docs/rights.md").read_text(encoding="utf-8")
    assert page == rights.page(rights.load_table()), "docs/rights.md is stale; fix: make generate"

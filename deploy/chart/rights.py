#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which rights the rendered chart grants, which ones the table allows, and docs/rights.md written from that table.

A right is one verb on one kind in one place for one account: `Right`. Both sides are broken down to such rights, so
that they can be compared as sets, whatever way the rules are written.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = REPOSITORY / "charts/evidencerun/rights.yaml"
PAGE = REPOSITORY / "docs/rights.md"
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """`holder` is an account, or a role that nobody is bound to; `resource` is GROUP/RESOURCE[=OBJECT]."""

    holder: str
    where: str
    resource: str
    verb: str


def load_table(path: Path = TABLE) -> Document:
    """Read the table of rights."""
    table: Document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return table


def _spread(holder: str, where: str, rules: Mapping[str, str]) -> Iterator[Right]:
    for resource, verbs in rules.items():
        for verb in verbs.split():
            yield Right(holder, where, resource, verb)


def _allowed_to_account(name: str, account: Document) -> Iterator[Right]:
    for entry in account["rights"]:
        if "role" in entry:
            yield Right(name, entry["where"], f"role={entry['role']}", "*")
        yield from _spread(name, entry["where"], entry["rules"])


def allowed(table: Document, enabled: Iterable[str] = ()) -> set[Right]:
    """Every right of the table; accounts marked `only: VALUE` count if VALUE is in `enabled`."""
    values = set(enabled)
    rights = {
        right
        for name, account in table["accounts"].items()
        if account.get("only") is None or account["only"] in values
        for right in _allowed_to_account(name, account)
    }
    for name, role in table["roles"].items():
        rights.update(_spread(name, role["where"], role["rules"]))
    return rights


def _rule_rights(rule: Document) -> Iterator[tuple[str, str]]:
    for url in rule.get("nonResourceURLs", ()):
        for verb in rule["verbs"]:
            yield f"url={url}", verb
    for group in rule.get("apiGroups", ()):
        for resource in rule["resources"]:
            for name in rule.get("resourceNames") or [""]:
                for verb in rule["verbs"]:
                    yield f"{group or 'core'}/{resource}" + (f"={name}" if name else ""), verb


def _key(document: Document) -> tuple[str, str, str]:
    metadata = document["metadata"]
    return document["kind"], metadata.get("namespace", ""), metadata["name"]


def _holder(subject: Document) -> str:
    """The account's name; anything but a ServiceAccount keeps its kind, so that no table can allow it by accident."""
    return subject["name"] if subject["kind"] == "ServiceAccount" else f"{subject['kind']}:{subject['name']}"


def granted(documents: Sequence[Document], places: Mapping[str, str]) -> set[Right]:
    """Every right that the rendered documents grant; `places` maps a namespace to the table's word for it.

    A role of the cluster's own, such as cluster-admin, becomes one right `role=NAME`; a namespace that `places` does
    not know keeps its name, so that the comparison fails.
    """
    roles = {_key(doc): doc for doc in documents if doc["kind"] in ("Role", "ClusterRole")}
    bound: set[tuple[str, str, str]] = set()
    rights: set[Right] = set()
    for binding in documents:
        if binding["kind"] not in ("RoleBinding", "ClusterRoleBinding"):
            continue
        namespace = binding["metadata"].get("namespace", "")
        where = places.get(namespace, namespace) if namespace else "cluster"
        kind, name = binding["roleRef"]["kind"], binding["roleRef"]["name"]
        key = (kind, namespace if kind == "Role" else "", name)
        bound.add(key)
        pairs = _role_pairs(roles[key]) if key in roles else [(f"role={name}", "*")]
        rights.update(Right(_holder(s), where, res, verb) for s in binding["subjects"] for res, verb in pairs)
    for key, role in roles.items():
        if key not in bound:
            where = places.get(key[1], key[1]) if key[1] else "cluster"
            rights.update(Right(key[2], where, resource, verb) for resource, verb in _role_pairs(role))
    return rights


def _role_pairs(role: Document) -> list[tuple[str, str]]:
    pairs = [pair for rule in role.get("rules") or () for pair in _rule_rights(rule)]
    return [*pairs, ("aggregationRule", "*")] if "aggregationRule" in role else pairs


def _account_lines(name: str, account: Document) -> Iterator[str]:
    yield f"### {name}\n"
    yield f"Namespace: {account['in']}. {account['purpose'][0].upper()}{account['purpose'][1:]}.\n"
    if not account["rights"]:
        yield "No rights.\n"
        return
    for entry in account["rights"]:
        yield f"**{entry['where']}**: {entry['why']}.\n"
        if "role" in entry:
            yield f"Everything: the cluster's own role `{entry['role']}`.\n"
        if entry["rules"]:
            yield from _rule_table(entry["rules"])


def _rule_table(rules: Mapping[str, str]) -> Iterator[str]:
    yield "| kind | object | may |\n| --- | --- | --- |"
    for resource, verbs in rules.items():
        kind, _, name = resource.partition("=")
        yield f"| {kind.removeprefix('core/')} | {f'`{name}`' if name else 'any'} | {', '.join(verbs.split())} |"
    yield ""


_HEAD = """<!-- SPDX-License-Identifier: Apache-2.0 -->
<!-- Written by `make generate` from charts/evidencerun/rights.yaml; edits here are lost. -->
# Rights

Every right of every account that the chart makes; a test renders the chart and fails on any other. Places: `system` is
the release's namespace, `probes` and `checks` are the namespaces `evidencerun-probes` and `evidencerun-checks`, `runs`
stands for each of `runNamespaces`, `cluster` for everything.

No account may read Secrets, but for `evidence-check-aicr-wide`, which is off by default and may do everything. Only the
operator and the store have an API token mounted; a check has one only if its catalog entry says `rights: aicr-read` or
`aicr-wide`.

Whoever may create Jobs or DaemonSets in a namespace can borrow the accounts there and mount its Secrets. The operator
may, in the namespaces of probes, checks and runs; so keep other Secrets and powerful accounts out of them.

## Accounts
"""


def page(table: Document) -> str:
    """The text of docs/rights.md."""
    lines = [_HEAD]
    for name, account in table["accounts"].items():
        lines.extend(_account_lines(name, account))
    lines.append("## Roles for people\n\nThe chart binds them to nobody.\n")
    for name, role in table["roles"].items():
        lines.append(f"### {name}\n\nWhere: {role['where']}. For: {role['purpose']}.\n")
        lines.extend(_rule_table(role["rules"]))
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Write docs/rights.md."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(load_table()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""What a bundle says, without judging it: read, not derived, not believed. The first line says so."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from evidencerun.attest.statement import Statement, parse_statement
from evidencerun.bundle import layout
from evidencerun.bundle.escape import plain_text
from evidencerun.bundle.record import CheckRun, RunRecord, load_record
from evidencerun.ctrf.report import counts, load_ctrf
from evidencerun.errors import EvidenceError
from evidencerun.report.words import one_line, recipe_title
from evidencerun.validation.outcome import shown_reason

BANNER: Final = "NOT JUDGED: this is what the bundle says of itself; nothing of it was checked (evr verify does that)"
CONTENTS_SCHEMA: Final = "https://evidencerun.dev/schemas/bundle-contents/v1"


def render_contents(files: Mapping[str, bytes]) -> str:
    """Return the contents as text, with a final newline.

    Raises:
        EvidenceError: a document cannot be read at all.

    """
    return "\n".join(_lines(files)) + "\n"


def contents_json(files: Mapping[str, bytes]) -> str:
    """Return the contents as JSON: the banner, the files with their sizes, the statement, the run record if any."""
    record = load_record(files[layout.RUN]) if layout.RUN in files else None
    document: dict[str, Any] = {
        "schema": CONTENTS_SCHEMA,
        "judged": False,
        "notice": BANNER,
        "files": {path: len(files[path]) for path in sorted(files)},
        "signed": layout.ATTESTATION in files,
        "statement": _plain(_statement(files)),
        "run": record.model_dump(mode="json", by_alias=True) if record else None,
    }
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _statement(files: Mapping[str, bytes]) -> Statement:
    if layout.STATEMENT not in files:
        raise EvidenceError("E2004", "a file that every bundle has is missing", where=layout.STATEMENT)
    return parse_statement(files[layout.STATEMENT], what=layout.STATEMENT)


def _plain(statement: Statement) -> dict[str, Any]:
    return {
        "subjects": dict(statement.subjects),
        "predicateType": statement.predicate_type,
        "predicate": dict(statement.plain),
    }


def _lines(files: Mapping[str, bytes]) -> Iterator[str]:
    statement = _statement(files)
    predicate = statement.predicate
    yield BANNER
    yield ""
    yield f"Recipe      {plain_text(recipe_title(predicate.recipe.name))}  digest {predicate.recipe.digest}"
    yield f"Producer    {plain_text(predicate.aicr_version)}, {plain_text(predicate.attested_at)}"
    yield f"Signature   {'there is one, not looked at' if layout.ATTESTATION in files else 'none'}"
    yield f"Predicate   {statement.predicate_type}"
    yield ""
    yield "Fingerprint"
    for name, member in predicate.fingerprint.items():
        yield f"  {plain_text(name):<14}{plain_text(_value(member))}"
    yield ""
    yield f"Criteria    {'matched' if predicate.criteria_match.matched else 'not matched'}; recipe | cluster | outcome"
    for row in predicate.criteria_match.per_dimension:
        asked, seen, match = (str(row.get(key, "")) for key in ("recipeRequires", "fingerprintProvides", "match"))
        # AICR's word for a dimension that the recipe leaves open is `matched`; nothing was compared there.
        words = [asked or "-", seen or "-", match if asked else "not asked"]
        yield f"  {plain_text(str(row.get('dimension', ''))):<14}{' | '.join(plain_text(word) for word in words)}"
    yield ""
    if layout.RUN in files:
        yield from _run(load_record(files[layout.RUN]))
    else:
        yield from _reports(files)
    yield ""
    yield f"Files       {len(files)}"
    for path in sorted(files):
        yield f"  {len(files[path]):>10}  {plain_text(path)}"


def _value(member: object) -> str:
    if not isinstance(member, dict):
        return str(member)
    extra = "".join(f"  {key} {member[key]}" for key in ("version", "source", "note") if member.get(key))
    return f"{member.get('value', '')}{extra}"


def _reports(files: Mapping[str, bytes]) -> Iterator[str]:
    for path in sorted(path for path in files if path.startswith("ctrf/")):
        report = load_ctrf(files[path], where=path)
        found = counts(report.results.tests)
        yield f"{plain_text(path)}: {found.tests} tests, {found.passed} passed, {found.failed} failed"
        for test in report.results.tests:
            yield f"  {test.status.value:<9}{plain_text(test.name)}"


def _run(record: RunRecord) -> Iterator[str]:
    plan, nodes, tally = record.plan, record.nodes, record.counts
    yield f"Run         {plain_text(plan.run.namespace)}/{plain_text(plan.run.name)}  uid {plain_text(plan.run.uid)}"
    yield f"Verdict     {record.verdict.value}  (sealed because: {record.seal.reason.value})"
    yield f"Nodes       {nodes.reported} of {nodes.targeted} reported"
    for straggler in nodes.stragglers[:20]:
        yield f"  {plain_text(straggler.name)}: {plain_text(straggler.state)}: {plain_text(straggler.reason)}"
    yield f"Checks      {tally.declared} declared, {tally.executed} executed, {tally.attempts} attempts"
    for check in record.checks:
        yield from _check(check)
    if record.trust.synthetic:
        yield f"Synthetic   {', '.join(plain_text(marker) for marker in record.trust.markers)}"


def _check(check: CheckRun) -> Iterator[str]:
    why = shown_reason(check.reason, check.extra)
    reason = f" ({plain_text(why)})" if why else ""
    yield f"  {check.phase.value:<12}{plain_text(check.name):<32}{check.status.value}{reason}"
    if check.message and check.message != why:
        yield f"    {plain_text(one_line(check.message))}"
    for attempt in check.attempts:
        for number in attempt.measurements:
            place = f" on {plain_text(number.node)}" if number.node else ""
            yield f"    {plain_text(number.name)} = {number.value} {plain_text(number.unit)}{place}"

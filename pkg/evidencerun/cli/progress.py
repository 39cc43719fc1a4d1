# SPDX-License-Identifier: Apache-2.0
"""What an EvidenceRun's status says to a person: one description for watching, for `evr status` and for logs.

Pure: takes the object as the API returns it and the time, returns text. Nothing is said by colour alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from evidencerun.cli.exits import VERDICT_EXITS, Exit

CONDITIONS: Final = (
    "Accepted",
    "Planned",
    "Durable",
    "NodesReported",
    "ChecksFinished",
    "Sealed",
    "Delivered",
    "CleanedUp",
    "Complete",
)
_MARKS: Final = {"True": "ok", "False": "NO", "Unknown": "..."}
_GOING_ON: Final = frozenset({"Sealing", "Delivering", "CleaningUp"})
"""Reasons of a False condition that is still being worked on."""
_NOT_ASKED: Final = frozenset({"NotRequested", "NotReached"})
_TROUBLE: Final = "StoreUnavailable"
"""The one condition that is good when it is False, and not worth a row then."""
_REASON_SHOWN: Final = 400
_UNSEEN_SECONDS: Final = 15
"""The operator writes its first word within a second or two."""
_UNSEEN: Final = (
    "  ?    the operator has not seen it yet; does it run? kubectl get pods -A -l app.kubernetes.io/component=operator"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A run in words. `key` changes exactly when something worth a log line has changed."""

    headline: str
    rows: tuple[str, ...]
    key: str
    finished: bool
    exit_code: Exit


def describe(run: Mapping[str, Any], now: datetime) -> Description:
    """Describe a run at `now` (aware, UTC)."""
    metadata, status = run.get("metadata", {}), run.get("status") or {}
    phase, verdict = status.get("phase") or "Pending", status.get("verdict") or ""
    conditions = {c.get("type"): c for c in status.get("conditions", [])}
    finished = conditions.get("Complete", {}).get("status") == "True"
    exit_code = VERDICT_EXITS.get(verdict, Exit.INTERNAL) if finished else Exit.WAIT_TIMEOUT
    name = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
    summary = str(status.get("summary") or "")
    said = _beside(verdict, summary) if finished else summary
    words = [f"EvidenceRun {name}", verdict if finished else phase, said, _age(run, now)]
    rows = _condition_rows(conditions, reported="nodes" in status) + (
        _result_rows(metadata, status) if finished else ()
    )
    if not status and (_seconds(run, now) or 0) >= _UNSEEN_SECONDS:
        rows = (_UNSEEN,)
    return Description(
        headline=clean("   ".join(word for word in words if word)),
        rows=rows,
        key="\n".join([phase, verdict, status.get("summary") or "", *rows]),
        finished=finished,
        exit_code=exit_code,
    )


def _beside(verdict: str, summary: str) -> str:
    """Return what the summary says beside the verdict, which the operator repeats in it."""
    parts = (part.removeprefix(f"{verdict}: ") for part in summary.split("; "))
    return "; ".join(part for part in parts if part != verdict)


def clean(text: str) -> str:
    """Return the text with control and direction characters made visible: it may come from a node or a check."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _condition_rows(conditions: Mapping[str, Mapping[str, Any]], *, reported: bool) -> tuple[str, ...]:
    """One row per known condition, then those of a newer operator; none for what a run did not come to.

    `reported` says whether it is known how many nodes have reported.
    """
    names = [name for name in CONDITIONS if name in conditions]
    names += sorted(name for name in conditions if name not in CONDITIONS)
    shown = [name for name in names if name != "Complete" and not _is_absent_trouble(conditions[name])]
    told = [name for name in shown if not _is_unreached(conditions[name], reported)]
    return tuple(_condition_row(conditions[name]) for name in told)


def _is_unreached(condition: Mapping[str, Any], reported: bool) -> bool:
    counted = reported and condition.get("type") == "NodesReported"
    return condition.get("reason") == "NotReached" and not counted


def _is_absent_trouble(condition: Mapping[str, Any]) -> bool:
    return condition.get("type") == _TROUBLE and condition.get("status") != "True"


def _mark(condition: Mapping[str, Any]) -> str:
    status, reason = str(condition.get("status")), condition.get("reason")
    if condition.get("type") == _TROUBLE:
        return _MARKS["False"]
    if status == "False" and reason in _NOT_ASKED:
        return "-"
    return _MARKS["Unknown"] if status == "False" and reason in _GOING_ON else _MARKS.get(status, "?")


def _condition_row(condition: Mapping[str, Any]) -> str:
    reason, message = condition.get("reason") or "", condition.get("message") or ""
    detail = message or reason
    return clean(f"  {_mark(condition):<4} {condition.get('type', ''):<15} {detail}").rstrip()


def _result_rows(metadata: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[str, ...]:
    checks, nodes, bundle = status.get("checks") or {}, status.get("nodes") or {}, status.get("bundle") or {}
    rows = []
    if nodes:
        rows.append(
            f"Nodes      {nodes.get('reported', 0)} of {nodes.get('targeted', 0)} reported, "
            f"{nodes.get('failed', 0)} failed, {nodes.get('missing', 0)} missing"
        )
    if checks:
        rows.append(
            f"Checks     {checks.get('passed', 0)} passed, {checks.get('failed', 0)} failed, "
            f"{checks.get('skipped', 0)} skipped, {checks.get('other', 0)} other; "
            f"{checks.get('declared', 0)} declared, {checks.get('attempts', 0)} attempts"
        )
    rows += [f"           {_sample(check)}" for check in checks.get("sample") or []]
    if match := status.get("match"):
        rows.append(f"Match      {match.get('overall', 'unknown')}{_mismatches(match)}")
    if digest := bundle.get("archiveDigest"):
        rows.append(f"Bundle     {digest}   {bundle.get('size', 0)} bytes")
        rows.append(f"Signer     {bundle.get('signer') or 'NOT SIGNED'}")
    rows += [f"Delivered  {item.get('kind')} {item.get('ref')}" for item in bundle.get("delivered") or []]
    action = str(status.get("nextAction") or "")
    if bundle.get("archiveDigest") and str(bundle.get("fetch")) not in action:
        rows.append(f"Fetch      evr pull -n {metadata.get('namespace')} {metadata.get('name')} --key")
    if action:
        rows.append(f"Next       {action}")
    return tuple(clean(row) for row in rows)


def _sample(check: Mapping[str, Any]) -> str:
    """Return a check that did not simply pass with the reason that it gave, on one line."""
    reason = " ".join(str(check.get("message") or "").split())
    if len(reason) > _REASON_SHOWN:
        reason = f"{reason[:_REASON_SHOWN]}… (the whole in status.checks.sample)"
    outcome = str(check.get("outcome") or "")
    if outcome and reason.startswith(outcome):
        return f"{check.get('name')}: {reason}"
    return f"{check.get('name')}: {outcome}" + (f": {reason}" if reason else "")


def _mismatches(match: Mapping[str, Any]) -> str:
    wrong = [
        f"{d.get('name')} asked {d.get('recipe')}, observed {d.get('observed') or 'unknown'}"
        for d in match.get("dimensions") or []
        if d.get("outcome") not in ("matched", "not-asked", "not-observable")
    ]
    return f" ({'; '.join(wrong)})" if wrong else ""


def _age(run: Mapping[str, Any], now: datetime) -> str:
    """Return how long the run has taken: to its end if it has ended."""
    seconds = _seconds(run, now)
    if seconds is None:
        return ""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m{seconds:02}s" if hours else f"{minutes}m{seconds:02}s"


def _seconds(run: Mapping[str, Any], now: datetime) -> int | None:
    status = run.get("status") or {}
    started = _time(run.get("metadata", {}).get("creationTimestamp"))
    if started is None:
        return None
    ended = next(
        (
            _time(c.get("lastTransitionTime"))
            for c in status.get("conditions", [])
            if c.get("type") == "Complete" and c.get("status") == "True"
        ),
        None,
    )
    return max(0, int(((ended or now) - started).total_seconds()))


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None

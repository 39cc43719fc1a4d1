# SPDX-License-Identifier: Apache-2.0
"""Reads all sources, each under its own deadline; a source that fails costs the report nothing but itself."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from evidencerun.probe.reading import Reading, Source, SourceAbsentError, SourceFailedError
from evidencerun.snapshot.report import Signal, SourceResult, SourceState, UnknownReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """A source's facts (empty if it gave none) and how its reading ended."""

    reading: Reading
    result: SourceResult


def collect(sources: Iterable[Source], monotonic: Callable[[], float]) -> list[Collected]:
    """Read one source after the other. Raises nothing."""
    return [_read_one(source, monotonic) for source in sources]


def _read_one(source: Source, monotonic: Callable[[], float]) -> Collected:
    started = monotonic()
    outcome = _within(source)
    milliseconds = max(0, round((monotonic() - started) * 1000))

    def ended(state: SourceState, reason: str, reading: Reading) -> Collected:
        result = SourceResult(
            name=source.name,
            level=source.level,
            state=state,
            reason=reason[:1000],
            milliseconds=milliseconds,
        )
        return Collected(reading=reading, result=result)

    match outcome:
        case Reading():
            return ended(SourceState.READ, "", outcome)
        case SourceAbsentError():
            return ended(SourceState.ABSENT, f"{outcome.reason}: {outcome.what}", Reading())
        case SourceFailedError():
            reading = _with_errors(source, outcome.partial, outcome.reason)
            return ended(SourceState.FAILED, f"{outcome.reason}: {outcome.what}", reading)
        case _:
            reason = UnknownReason.PERMISSION if isinstance(outcome, PermissionError) else UnknownReason.UNREADABLE
            text = f"{reason}: {type(outcome).__name__}: {outcome}"
            return ended(SourceState.FAILED, text, _with_errors(source, Reading(), reason))


def _within(source: Source) -> Reading | BaseException:
    """Return what the source gives within its time. The thread of one that hangs in the kernel is left behind."""
    answer: queue.SimpleQueue[Reading | BaseException] = queue.SimpleQueue()

    def run() -> None:
        try:
            answer.put(source.read())
        except BaseException as fault:
            answer.put(fault)

    threading.Thread(target=run, name=source.name, daemon=True).start()
    try:
        return answer.get(timeout=source.seconds)
    except queue.Empty:
        return SourceFailedError(UnknownReason.TIMEOUT, f"no answer within {source.seconds:g} s")


def _with_errors(source: Source, partial: Reading, reason: UnknownReason) -> Reading:
    """Return `partial` with every promised signal that it lacks, carrying the reason."""
    present = {signal.id for _, signal in partial.signals}
    missing = tuple(
        (promise.dimension, Signal(id=promise.id, tier=promise.tier, level=source.level, error=reason))
        for promise in source.promises
        if promise.id not in present
    )
    return Reading(
        signals=partial.signals + missing,
        measurements=partial.measurements,
        pci=partial.pci,
        markers=partial.markers,
        boot_id=partial.boot_id,
    )

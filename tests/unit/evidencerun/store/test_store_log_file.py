# SPDX-License-Identifier: Apache-2.0
"""A log that is read again after a cut stands once, whole, and within its limit."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidencerun.store import log_file
from evidencerun.store.log_file import LogFile, read_log


def _pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@given(
    data=st.binary(max_size=400),
    cuts=st.lists(st.integers(0, 400), max_size=6),
    breaks=st.lists(st.integers(0, 400), max_size=4),
    reopened=st.booleans(),
)
def test_any_cuts_give_the_log_once(data: bytes, cuts: list[int], breaks: list[int], reopened: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        log = LogFile(path)
        for end in [*breaks, len(data)]:
            log.begin_stream()
            for piece in _pieces(data[:end], cuts):
                log.feed(piece)
            if reopened:
                log.close()
                log = LogFile(path)
        log.begin_stream()
        log.feed(data)
        assert (log.size, log.dropped, log.rotated) == (len(data), 0, False)
        assert log.ends_with(data[-10:])
        log.close()
        assert read_log(path, 0) == data


def test_a_long_log_keeps_beginning_and_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "_HEAD_MAX", 100)
    monkeypatch.setattr(log_file.limits, "LOG_TAIL_MAX", 50)
    data = bytes(range(256)) * 4
    log = LogFile(tmp_path / "log")
    for _ in range(2):  # the second time as after a cut
        log.begin_stream()
        for start in range(0, len(data), 7):
            log.feed(data[start : start + 7])
    assert log.size == len(data)
    log.close()
    dropped = log.dropped
    assert dropped == len(data) - 150
    kept = read_log(tmp_path / "log", dropped)
    assert kept.startswith(data[:100] + b"\n[evidencerun: ")
    assert kept.endswith(b" bytes were dropped here]\n" + data[-50:])
    assert str(dropped).encode() in kept


def test_a_rotated_log_keeps_what_was_stored(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    log.begin_stream()
    log.feed(b"first file\n")
    log.begin_stream()
    log.feed(b"other file\n")
    log.close()
    text = read_log(tmp_path / "log", 0)
    assert log.rotated is True
    assert text.startswith(b"first file\n")
    assert text.endswith(b"other file\n")
    assert b"may be missing" in text

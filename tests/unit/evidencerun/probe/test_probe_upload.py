# SPDX-License-Identifier: Apache-2.0
"""The probe's conversation with the store, with time in our hands."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidencerun.errors import StoreError
from evidencerun.probe.upload import Upload, Uploader, sleep_for_ever, splay_seconds
from evidencerun.storeclient import Answer, Clock, StepLog, StoreClient, StoreRefusedError

UPLOAD = Upload(path="/v1/runs/run/nodes/self", plain=b"{}", packed=b"gz")
Reply = Answer | StoreError


def acknowledged(data: bytes = UPLOAD.packed, form: str = "{}") -> Answer:
    return Answer(status=201, body=json.dumps({"sha256": form.format(hashlib.sha256(data).hexdigest())}).encode())


def refused(status: int, retry_after: float = 0.0) -> StoreRefusedError:
    return StoreRefusedError("no", status=status, retry_after=retry_after, why="")


@dataclass
class FakeStoreClient(StoreClient):
    """Answers from a script and remembers the calls."""

    script: list[Reply]
    calls: list[str] = field(default_factory=list)

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        accept: frozenset[int] = frozenset(),
        max_bytes: int = 0,
    ) -> Answer:
        self.calls.append(method)
        assert path == UPLOAD.path
        if method == "PUT":
            assert body == UPLOAD.packed
            assert headers == {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        reply = self.script.pop(0)
        if isinstance(reply, StoreError):
            raise reply
        return reply


@dataclass
class Stay:
    """A probe that stays until its script is spent."""

    acked: Path
    script: list[Reply]
    until: float = 1e9
    at: float = 0.0
    slept: list[float] = field(default_factory=list)
    present: list[bool] = field(default_factory=list)
    log: io.StringIO = field(default_factory=io.StringIO)

    def run(self) -> FakeStoreClient:
        client = FakeStoreClient(self.script)

        def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            self.present.append(self.acked.exists())
            self.at = self.at + seconds if self.script else self.until

        clock = Clock(monotonic=lambda: self.at, sleep=sleep, uniform=lambda low, high: high)
        log = StepLog("probe", now=lambda: "then", out=self.log)
        Uploader(client, UPLOAD, acked=self.acked, clock=clock, log=log, until=self.until).stay()
        return client

    def steps(self) -> list[str]:
        return [json.loads(line)["step"] for line in self.log.getvalue().splitlines()]


@pytest.mark.parametrize("answer", [acknowledged(), acknowledged(UPLOAD.plain), acknowledged(form="sha256:{}")])
def test_ready_means_that_the_store_has_it(tmp_path: Path, answer: Answer) -> None:
    stay = Stay(tmp_path / "acked", [answer])
    assert stay.run().calls[0] == "PUT"
    assert stay.acked.exists()
    assert stay.steps() == ["acknowledged"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"sha256": 5}', json.dumps({"sha256": hashlib.sha256(b"other").hexdigest()}).encode()]
)
def test_acknowledgement_of_other_bytes_is_none(tmp_path: Path, body: bytes) -> None:
    stay = Stay(tmp_path / "acked", [Answer(status=201, body=body), acknowledged()])
    assert stay.run().calls[:2] == ["PUT", "PUT"]
    assert stay.present[0] is False
    assert stay.steps() == ["upload-failed", "acknowledged"]


def test_faults_are_tried_again_with_growing_delays(tmp_path: Path) -> None:
    down = StoreError("E7001", "down")
    stay = Stay(tmp_path / "acked", [down, down, refused(403), refused(429, 50.0), acknowledged()])
    stay.run()
    assert stay.slept[:4] == [1.0, 2.0, 4.0, 58.0]


def test_looks_after_it_and_uploads_again_when_it_is_lost(tmp_path: Path) -> None:
    stay = Stay(tmp_path / "acked", [acknowledged(), Answer(status=200), refused(404), acknowledged()])
    assert stay.run().calls[:4] == ["PUT", "HEAD", "HEAD", "PUT"]
    assert stay.slept[:2] == [120.0, 120.0]
    assert "lost-by-store" in stay.steps()


def test_a_store_that_is_away_for_a_while_changes_nothing(tmp_path: Path) -> None:
    stay = Stay(tmp_path / "acked", [acknowledged(), StoreError("E7001", "down"), Answer(status=200)])
    assert stay.run().calls[:3] == ["PUT", "HEAD", "HEAD"]
    assert stay.acked.exists()


def test_ends_its_work_at_its_time(tmp_path: Path) -> None:
    stay = Stay(tmp_path / "acked", [StoreError("E7001", "down")] * 1000, until=100)
    client = stay.run()
    assert not stay.acked.exists()
    assert len(client.calls) < 20


def test_sleeping_asks_nothing_of_anybody() -> None:
    slept: list[float] = []
    answers = iter([True, True, False])
    sleep_for_ever(Clock(sleep=slept.append), rounds=lambda: next(answers))
    assert slept == [3600.0, 3600.0]


@given(name=st.text(min_size=1, max_size=253), nodes=st.integers(min_value=0, max_value=5000))
def test_splay_is_fixed_per_node_and_within_its_window(name: str, nodes: int) -> None:
    delay = splay_seconds(name, nodes)
    assert 0 <= delay <= max(0.001, nodes / 50)
    assert splay_seconds(name, nodes) == delay


def test_splay_spreads_nodes() -> None:
    delays: Callable[[int], set[float]] = lambda nodes: {splay_seconds(f"node{n}", nodes) for n in range(100)}  # noqa: E731
    assert len(delays(5000)) > 90

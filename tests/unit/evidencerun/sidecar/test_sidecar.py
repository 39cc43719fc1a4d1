# SPDX-License-Identifier: Apache-2.0
"""What leaves a check's pod, when, and what is said about the rest."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from evidencerun import limits
from evidencerun.errors import InputError, StoreError
from evidencerun.sidecar.carrier import LISTING, Carrier, Moment
from evidencerun.sidecar.inputs import INPUTS, Input, fetch_all, fetch_input
from evidencerun.sidecar.main import LOOK_SECONDS, stop_within, wait_pending, watch
from evidencerun.sidecar.resultsfolder import LeftOut, read_result, scan
from evidencerun.sidecar.settings import go_seconds, sidecar_settings
from evidencerun.storeclient import Clock, Download, Endpoint, StepLog, StoreClient, StoreRefusedError


def always() -> bool:
    return True


# --- the folder ------------------------------------------------------------------------------------------------------


def test_only_plain_files_with_plain_names_are_taken(tmp_path: Path) -> None:
    (tmp_path / "ctrf.json").write_text("{}")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / ".part").write_text("")
    (tmp_path / "_sidecar.json").write_text("forged")
    (tmp_path / "two words").write_text("")
    (tmp_path / ("n" * 129)).write_text("")
    os.mkfifo(tmp_path / "pipe")
    found = scan(tmp_path)
    assert [file.name for file in found.files] == ["ctrf.json"]
    reasons = {item.name: item.reason for item in found.left_out}
    assert reasons["link"] == "a link, not a regular file"
    assert reasons["folder"] == "a folder, not a regular file"
    assert reasons["pipe"] == "a special file, not a regular file"
    assert {".part", "_sidecar.json", "two words", "n" * 129} < set(reasons)


def test_names_that_are_no_text_are_shown_escaped(tmp_path: Path) -> None:
    Path(os.fsdecode(bytes(tmp_path) + b"/\xff\n")).write_text("")
    ((name,),) = [[item.name for item in scan(tmp_path).left_out]]
    assert name.isascii()


def test_files_beyond_the_limits_are_named(tmp_path: Path) -> None:
    for number in range(limits.RESULT_FILES_MAX + 1):
        (tmp_path / f"f{number:03d}").write_text("")
    with (tmp_path / "a-large").open("wb") as file:
        file.truncate(limits.RESULT_FILE_MAX + 1)
    found = scan(tmp_path)
    assert len(found.files) == limits.RESULT_FILES_MAX
    assert [item.name for item in found.left_out] == ["a-large", f"f{limits.RESULT_FILES_MAX:03d}"]


def test_a_folder_full_of_rubbish_is_not_read_to_its_end(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"odd name {number}").write_text("")
    found = scan(tmp_path)
    assert [item.name for item in found.left_out] == [*sorted(f"odd name {n}" for n in range(300))[:256], "..."]


def test_a_folder_full_of_rubbish_does_not_fill_the_memory(tmp_path: Path) -> None:
    for number in range(5000):
        (tmp_path / f"{number}").touch()
    tracemalloc.start()
    try:
        scan(tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 400_000


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert scan(tmp_path / "none").files == ()


def test_a_file_that_became_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("token")
    (tmp_path / "r").symlink_to(tmp_path / "secret")
    assert isinstance(read_result(tmp_path, "r"), LeftOut)


def test_a_pipe_does_not_block_a_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "r")
    assert read_result(tmp_path, "r") == LeftOut(name="r", reason="not a regular file")


def test_a_file_that_grew_since_it_was_seen_stays_behind(tmp_path: Path) -> None:
    with (tmp_path / "r").open("wb") as file:
        file.truncate(limits.RESULT_FILE_MAX)
    assert isinstance(read_result(tmp_path, "r"), bytes)
    os.truncate(tmp_path / "r", limits.RESULT_FILE_MAX + 1)
    assert isinstance(read_result(tmp_path, "r"), LeftOut)


def test_stamp_changes_with_the_content(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("a")
    before = scan(tmp_path).files
    (tmp_path / "r").write_text("ab")
    assert scan(tmp_path).files != before


# --- carrying --------------------------------------------------------------------------------------------------------


@dataclass
class Store:
    """Takes files, unless a fault is prepared for their name."""

    files: dict[str, bytes] = field(default_factory=dict)
    puts: list[str] = field(default_factory=list)
    faults: dict[str, StoreError] = field(default_factory=dict)

    def put(self, name: str, data: bytes) -> None:
        self.puts.append(name)
        if name in self.faults:
            raise self.faults[name]
        self.files[name] = data

    def listing(self) -> dict[str, object]:
        document = json.loads(self.files[LISTING])
        assert isinstance(document, dict)
        return document


@pytest.fixture
def store() -> Store:
    return Store()


def carrier(folder: Path, store: Store) -> Carrier:
    inputs = (Input(name="recipe.yaml", digest="sha256:00", size=1),)
    return Carrier(folder, store.put, inputs, StepLog("sidecar", now=lambda: "then", out=io.StringIO()))


def test_what_has_changed_goes_up_once(tmp_path: Path, store: Store) -> None:
    mover = carrier(tmp_path, store)
    (tmp_path / "a.json").write_text("1")
    assert mover.carry(Moment.CHANGE, keep_going=always)
    assert mover.carry(Moment.CHANGE, keep_going=always)
    assert store.puts == ["a.json"]
    (tmp_path / "a.json").write_text("22")
    mover.carry(Moment.CHANGE, keep_going=always)
    assert store.files == {"a.json": b"22"}


def test_the_last_look_lists_everything(tmp_path: Path, store: Store) -> None:
    mover = carrier(tmp_path, store)
    (tmp_path / "a.json").write_text("1")
    (tmp_path / "link").symlink_to("a.json")
    assert mover.carry(Moment.END, keep_going=always)
    assert store.listing() == {
        "schema": "https://evidencerun.dev/schemas/sidecar/v1",
        "moment": "end",
        "uploaded": [{"name": "a.json", "sha256": hashlib.sha256(b"1").hexdigest(), "size": 1}],
        "leftOut": [{"name": "link", "reason": "a link, not a regular file"}],
        "inputs": {"recipe.yaml": "sha256:00"},
    }


def test_what_stays_behind_is_told_at_once_and_once(tmp_path: Path, store: Store) -> None:
    mover = carrier(tmp_path, store)
    (tmp_path / "link").symlink_to("a.json")
    mover.carry(Moment.CHANGE, keep_going=always)
    mover.carry(Moment.CHANGE, keep_going=always)
    assert store.puts == [LISTING]


def test_a_fault_of_the_store_is_made_good_later(tmp_path: Path, store: Store) -> None:
    mover = carrier(tmp_path, store)
    (tmp_path / "a.json").write_text("1")
    store.faults["a.json"] = StoreError("E7001", "down")
    assert not mover.carry(Moment.CHANGE, keep_going=always)
    store.faults.clear()
    assert mover.carry(Moment.CHANGE, keep_going=always)
    assert store.files == {"a.json": b"1"}


def test_a_file_that_the_store_never_takes_stays_behind_with_its_words(tmp_path: Path, store: Store) -> None:
    mover = carrier(tmp_path, store)
    (tmp_path / "a.json").write_text("1")
    store.faults["a.json"] = StoreRefusedError("no", status=413, retry_after=0, why="quota of the run is spent")
    assert mover.carry(Moment.END, keep_going=always)
    assert mover.carry(Moment.END, keep_going=always)
    assert store.puts.count("a.json") == 1
    assert store.listing()["leftOut"] == [
        {"name": "a.json", "reason": "refused by the store: quota of the run is spent"}
    ]
    store.faults.clear()
    (tmp_path / "a.json").write_text("smaller")
    assert mover.carry(Moment.END, keep_going=always)
    assert store.listing()["leftOut"] == []


def test_a_listing_that_fails_is_made_good_later(tmp_path: Path, store: Store) -> None:
    mover = carrier(tmp_path, store)
    store.faults[LISTING] = StoreError("E7001", "down")
    assert not mover.carry(Moment.END, keep_going=always)
    store.faults.clear()
    assert mover.carry(Moment.END, keep_going=always)


@pytest.mark.parametrize(("status", "over"), [(400, True), (404, True), (409, True), (503, False), (507, False)])
def test_what_the_store_never_takes_does_not_hold_the_pod(
    tmp_path: Path, store: Store, status: int, over: bool
) -> None:
    """404 and 409: the run is gone, the attempt is judged; 503 and 507 pass."""
    (tmp_path / "a").write_text("a")
    for name in ("a", LISTING):
        store.faults[name] = StoreRefusedError("no", status=status, retry_after=0, why="not any more")
    assert carrier(tmp_path, store).carry(Moment.END, keep_going=always) is over


def test_carrying_stops_between_files_when_told(tmp_path: Path, store: Store) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    answers = iter([True, False])
    assert not carrier(tmp_path, store).carry(Moment.CHANGE, keep_going=lambda: next(answers))
    assert store.puts == ["a"]


# --- watching --------------------------------------------------------------------------------------------------------


@dataclass
class Life:
    """A check's life in steps: at each wait something happens, the last wait hears the stop."""

    happenings: list[Callable[[], None]]
    at: float = 0.0
    waits: list[float] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.at += seconds
        if not self.happenings:
            return True
        self.happenings.pop(0)()
        return False

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds

    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.at, sleep=self.sleep, uniform=lambda low, high: high)


def test_results_go_up_while_the_check_runs_at_its_timeout_and_at_its_end(tmp_path: Path, store: Store) -> None:
    moments: list[tuple[float, Moment]] = []
    mover = carrier(tmp_path, store)
    whole = mover.carry

    def carry(moment: Moment, *, keep_going: Callable[[], bool]) -> bool:
        moments.append((life.at, moment))
        return whole(moment, keep_going=keep_going)

    mover.carry = carry  # type: ignore[method-assign]
    life = Life([lambda: None] * 4)
    (tmp_path / "a").write_text("1")
    assert watch(mover, 5.0, clock=life.clock(), wait=life.wait)
    assert moments == [
        (2.0, Moment.CHANGE),
        (4.0, Moment.CHANGE),
        (5.0, Moment.TIMEOUT),
        (7.0, Moment.CHANGE),
        (9.0, Moment.END),
    ]
    assert store.listing()["moment"] == "end"


def test_looks_come_further_apart_while_the_store_is_away(tmp_path: Path, store: Store) -> None:
    (tmp_path / "a").write_text("1")
    store.faults["a"] = StoreError("E7001", "down")
    life = Life([lambda: None, lambda: None, store.faults.clear, lambda: None])
    assert watch(carrier(tmp_path, store), 1e6, clock=life.clock(), wait=life.wait)
    assert life.waits == [LOOK_SECONDS, LOOK_SECONDS + 1, LOOK_SECONDS + 2, LOOK_SECONDS, LOOK_SECONDS]


def test_the_last_upload_is_tried_within_the_grace_period_only(tmp_path: Path, store: Store) -> None:
    (tmp_path / "a").write_text("1")
    store.faults["a"] = StoreError("E7001", "down")
    life = Life([])
    assert not watch(carrier(tmp_path, store), 1e6, clock=life.clock(), wait=life.wait)
    assert life.at <= LOOK_SECONDS + 25
    assert len(life.slept) > 10


def test_sigterm_is_picked_up_between_steps() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        assert not stop_within(0)
        assert not wait_pending()
        # To this thread: a test worker has others, which do not block the signal.
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        assert wait_pending()
        assert stop_within(30)
        assert not stop_within(0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- inputs and settings ---------------------------------------------------------------------------------------------


class FakeInputs(StoreClient):
    """Gives every input the same bytes."""

    def __init__(self) -> None:
        super().__init__(Endpoint(url="http://127.0.0.1:1"))
        self.asked: list[str] = []

    def download(self, path: str, target: object, *, max_bytes: int) -> Download:
        self.asked.append(path)
        assert isinstance(target, io.BufferedWriter)
        target.write(b"data")
        return Download(digest="sha256:1", size=4)


def test_inputs_lie_where_the_contract_says_and_anyone_can_read_them(tmp_path: Path) -> None:
    client = FakeInputs()
    before = os.umask(0o077)
    try:
        got = fetch_all(lambda name, target: fetch_input(client, "run", name, target), tmp_path)
    finally:
        os.umask(before)
    assert [item.name for item in got] == ["recipe.yaml", "snapshot.yaml", "validation.yaml", "nodes.json"]
    assert client.asked == [f"/v1/runs/run/inputs/{name}" for name, _ in INPUTS]
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == [
        "nodes/nodes.json",
        "recipe/recipe.yaml",
        "snapshot/snapshot.yaml",
        "validation/validation.yaml",
    ]
    assert (tmp_path / "recipe/recipe.yaml").stat().st_mode & 0o777 == 0o644


ENVIRON = {
    "EVIDENCERUN_STORE_URL": "https://store",
    "EVIDENCERUN_RUN_UID": "run",
    "EVIDENCERUN_CHECK": "node-agreement",
    "EVIDENCERUN_ATTEMPT": "2",
    "AICR_CHECK_TIMEOUT": "8m0s",
}


def test_sidecar_settings_are_read() -> None:
    settings = sidecar_settings(ENVIRON)
    assert (settings.check, settings.attempt, settings.timeout_seconds) == ("node-agreement", 2, 480.0)


@pytest.mark.parametrize("name", ["EVIDENCERUN_STORE_URL", "EVIDENCERUN_CHECK", "EVIDENCERUN_ATTEMPT"])
def test_missing_sidecar_settings_are_named(name: str) -> None:
    with pytest.raises(InputError) as caught:
        sidecar_settings(ENVIRON | {name: ""})
    assert name in caught.value.why


@pytest.mark.parametrize("attempt", ["0", "-1", "1/../2", "x", "1000"])
def test_attempts_are_small_numbers(attempt: str) -> None:
    with pytest.raises(InputError):
        sidecar_settings(ENVIRON | {"EVIDENCERUN_ATTEMPT": attempt})


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("5m0s", 300), ("1h30m0s", 5400), ("2h", 7200)])
def test_go_durations(text: str, seconds: float) -> None:
    assert go_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "1.5h", "s", "-5s", "5m 0s", "9" * 30 + "s"])
def test_what_is_no_go_duration(text: str) -> None:
    with pytest.raises(InputError):
        go_seconds(text)

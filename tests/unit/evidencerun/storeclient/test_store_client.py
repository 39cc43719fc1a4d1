# SPDX-License-Identifier: Apache-2.0
"""The store client against a small HTTPS server."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from local_server import QuietHandler, self_signed, serving

from evidencerun.errors import StoreError
from evidencerun.storeclient import Backoff, Clock, Endpoint, StoreClient, StoreRefusedError, keep_trying

Reply = tuple[int, dict[str, str], bytes]


@dataclass
class Seen:
    """One request as the server got it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class FakeStore:
    """A server that answers with `reply` and remembers what was asked."""

    url: str = ""
    ca_pem: str = ""
    seen: list[Seen] = field(default_factory=list)
    reply: Callable[[Seen], Reply] = lambda _: (200, {}, b"{}")
    promised: int | None = None


@contextlib.contextmanager
def _serving(store: FakeStore, tls: Path | None) -> Iterator[FakeStore]:
    class Handler(QuietHandler):
        def answer(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen = Seen(self.command, self.path, headers, self.body())
            store.seen.append(seen)
            status, more, body = store.reply(seen)
            self.reply(status, body, more, promised=store.promised)

    with serving(Handler, tls) as store.url:
        yield store


@pytest.fixture
def plain_store() -> Iterator[FakeStore]:
    with _serving(FakeStore(), None) as store:
        yield store


@pytest.fixture
def tls_store(tmp_path: Path) -> Iterator[FakeStore]:
    pem, ca = self_signed(tmp_path)
    with _serving(FakeStore(ca_pem=ca), pem) as store:
        yield store


def client(store: FakeStore, token_file: Path | None = None) -> StoreClient:
    return StoreClient(Endpoint(url=store.url, ca_pem=store.ca_pem, token_file=token_file))


def test_speaks_tls_to_the_given_authority(tls_store: FakeStore) -> None:
    assert client(tls_store).send("GET", "/healthz").body == b"{}"


def test_refuses_another_authority(tls_store: FakeStore, tmp_path: Path) -> None:
    _, other = self_signed(tmp_path)
    with pytest.raises(StoreError) as caught:
        StoreClient(Endpoint(url=tls_store.url, ca_pem=other)).send("GET", "/")
    assert caught.value.code == "E7001"
    assert "certificate" in caught.value.what
    assert tls_store.seen == []


@pytest.mark.parametrize(
    "url",
    [
        "http://evidence-store.evidencerun-system.svc",
        "ftp://x",
        "",
        "https://",
        "https://[",
        "https://store:0",
        "https://store:99999",
        "https://store:https",
    ],
)
def test_refuses_urls_without_tls_or_host(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        StoreClient(Endpoint(url=url, ca_pem="x"))
    assert caught.value.code == "E7000"


def test_https_needs_a_given_authority() -> None:
    with pytest.raises(StoreError, match="usable CA"):
        StoreClient(Endpoint(url="https://store"))


@pytest.mark.parametrize("pem", ["x", "\ufffd", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_an_authority_that_cannot_be_read_is_named(pem: str) -> None:
    with pytest.raises(StoreError) as caught:
        StoreClient(Endpoint(url="https://store", ca_pem=pem))
    assert (caught.value.code, caught.value.where) == ("E7000", "EVIDENCERUN_STORE_CA")


def test_token_is_read_anew_for_each_request(plain_store: FakeStore, tmp_path: Path) -> None:
    token = tmp_path / "token"
    speaker = client(plain_store, token)
    for text in ("aaa.b", "ccc.d"):
        token.write_text(f"{text}\n")
        speaker.send("GET", "/")
    assert [seen.headers["authorization"] for seen in plain_store.seen] == ["Bearer aaa.b", "Bearer ccc.d"]


@pytest.mark.parametrize("content", [b"", b"two words", b"a\r\nX: y", b"\xff", b"a" * 20_000])
def test_what_is_no_token_is_not_sent(plain_store: FakeStore, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(StoreError) as caught:
        client(plain_store, tmp_path / "token").send("GET", "/")
    assert caught.value.code == "E7004"
    assert plain_store.seen == []


def test_missing_token_is_a_fault_of_the_world(plain_store: FakeStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        client(plain_store, tmp_path / "none").send("GET", "/")
    assert caught.value.retryable


def test_body_carries_its_digest(plain_store: FakeStore) -> None:
    client(plain_store).send("PUT", "/x", body=b"report", headers={"Content-Encoding": "gzip"})
    (seen,) = plain_store.seen
    assert seen.body == b"report"
    expected = base64.b64encode(hashlib.sha256(b"report").digest()).decode()
    assert seen.headers["content-digest"] == f"sha-256=:{expected}:"
    assert seen.headers["content-encoding"] == "gzip"
    assert seen.headers["accept-encoding"] == "identity"


def test_refusal_repeats_the_status_object(plain_store: FakeStore) -> None:
    body = b'{"kind":"Status","message":"node uid is not among the targets"}'
    plain_store.reply = lambda _: (403, {"Retry-After": "7"}, body)
    with pytest.raises(StoreRefusedError) as caught:
        client(plain_store).send("PUT", "/x", body=b"1")
    assert (caught.value.status, caught.value.retry_after) == (403, 7.0)
    assert caught.value.why == "node uid is not among the targets"


@pytest.mark.parametrize(("status", "again"), [(400, False), (413, False), (401, True), (429, True), (503, True)])
def test_only_some_refusals_are_worth_another_try(plain_store: FakeStore, status: int, again: bool) -> None:
    plain_store.reply = lambda _: (status, {}, b"no json")
    with pytest.raises(StoreRefusedError) as caught:
        client(plain_store).send("GET", "/")
    assert caught.value.retryable is again
    assert caught.value.why == "no json"


@pytest.mark.parametrize("value", ["-1", "Wed, 21 Oct 2026 07:28:00 GMT", "1e9", ""])
def test_odd_retry_after_counts_as_none(plain_store: FakeStore, value: str) -> None:
    plain_store.reply = lambda _: (429, {"Retry-After": value}, b"")
    with pytest.raises(StoreRefusedError) as caught:
        client(plain_store).send("GET", "/")
    assert caught.value.retry_after == 0.0


def test_long_retry_after_is_bounded(plain_store: FakeStore) -> None:
    plain_store.reply = lambda _: (429, {"Retry-After": "99999"}, b"")
    with pytest.raises(StoreRefusedError) as caught:
        client(plain_store).send("GET", "/")
    assert caught.value.retry_after == 300.0


def test_answer_over_the_limit_is_refused(plain_store: FakeStore) -> None:
    plain_store.reply = lambda _: (200, {}, b"x" * 101)
    with pytest.raises(StoreError) as caught:
        client(plain_store).send("GET", "/", max_bytes=100)
    assert caught.value.code == "E7003"


def test_answer_that_breaks_off_is_no_answer(plain_store: FakeStore) -> None:
    plain_store.promised = 10
    plain_store.reply = lambda _: (200, {}, b"half")
    with pytest.raises(StoreError) as caught:
        client(plain_store).download("/", io.BytesIO(), max_bytes=100)
    assert caught.value.code == "E7001"
    assert "4 of 10" in caught.value.why


def test_an_answer_to_head_promises_a_body_and_has_none(plain_store: FakeStore) -> None:
    plain_store.promised = 10
    assert client(plain_store).send("HEAD", "/").body == b""


def test_a_request_has_an_end_even_if_bytes_trickle(plain_store: FakeStore) -> None:
    moments = iter([0.0, 1.0, 601.0])
    plain_store.reply = lambda _: (200, {}, b"x" * 100_000)
    with pytest.raises(StoreError, match="took too long"):
        StoreClient(Endpoint(url=plain_store.url), monotonic=lambda: next(moments)).send("GET", "/")


def test_words_of_a_store_may_be_nested_without_end(plain_store: FakeStore) -> None:
    plain_store.reply = lambda _: (500, {}, b"[" * 100_000)
    with pytest.raises(StoreRefusedError) as caught:
        client(plain_store).send("GET", "/")
    assert caught.value.why == "[" * 300


def test_download_tells_digest_and_size(plain_store: FakeStore) -> None:
    data = bytes(range(256)) * 1000
    plain_store.reply = lambda _: (200, {}, data)
    target = io.BytesIO()
    got = client(plain_store).download("/v1/x", target, max_bytes=len(data))
    assert target.getvalue() == data
    assert (got.size, got.digest) == (len(data), f"sha256:{hashlib.sha256(data).hexdigest()}")


def test_redirect_is_not_followed(plain_store: FakeStore) -> None:
    plain_store.reply = lambda _: (302, {"Location": "/elsewhere"}, b"")
    with pytest.raises(StoreRefusedError) as caught:
        client(plain_store).send("GET", "/")
    assert caught.value.status == 302
    assert len(plain_store.seen) == 1


def test_nobody_there_is_named() -> None:
    with pytest.raises(StoreError) as caught:
        StoreClient(Endpoint(url="http://127.0.0.1:1")).send("GET", "/")
    assert caught.value.code == "E7001"
    assert caught.value.retryable


# --- patience --------------------------------------------------------------------------------------------------------


@dataclass
class ManualClock:
    """Time that passes only by sleeping; chance always at its upper end."""

    at: float = 0.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.at, sleep=self.sleep, uniform=lambda low, high: high)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds


def test_delays_double_up_to_their_cap() -> None:
    backoff = Backoff(ManualClock().clock())
    fault = StoreError("E7001", "x")
    assert [backoff.next_delay(fault) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_delay_is_never_shorter_than_asked_for() -> None:
    clock = Clock(uniform=lambda low, high: low)
    fault = StoreRefusedError("x", status=429, retry_after=42.0, why="")
    assert Backoff(clock).next_delay(fault) == 42.0


def test_keeps_trying_until_it_works() -> None:
    manual, answers, heard = ManualClock(), iter([StoreError("E7001", "a"), StoreError("E7001", "b"), "done"]), []

    def call() -> object:
        answer = next(answers)
        if isinstance(answer, StoreError):
            raise answer
        return answer

    got = keep_trying(
        call, clock=manual.clock(), until=100, on_fault=lambda fault, delay: heard.append((fault.what, delay))
    )
    assert got == "done"
    assert heard == [("a", 1.0), ("b", 2.0)]
    assert manual.slept == [1.0, 2.0]


def test_gives_up_at_its_time() -> None:
    manual = ManualClock()

    def call() -> None:
        raise StoreError("E7001", "down")

    with pytest.raises(StoreError, match="down"):
        keep_trying(call, clock=manual.clock(), until=10, on_fault=lambda *_: None)
    assert manual.at <= 10


def test_gives_up_at_once_when_told() -> None:
    manual = ManualClock()

    def call() -> None:
        raise StoreError("E7001", "final")

    with pytest.raises(StoreError):
        keep_trying(call, clock=manual.clock(), until=10, on_fault=lambda *_: None, give_up=lambda _: True)
    assert manual.slept == []

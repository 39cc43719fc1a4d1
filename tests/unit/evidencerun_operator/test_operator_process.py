# SPDX-License-Identifier: Apache-2.0
"""The process around the decisions: what a failed pass leads to, what an event leads to, and when the process ends."""

import asyncio
import json
import logging

import pytest
from operator_samples import UID, make_run, planned_run, run_body
from operator_samples import make_plan as plan_of

from evidencerun.errors import ClusterError, StoreError
from evidencerun.kube.login import Credentials
from evidencerun_operator import handlers, main
from evidencerun_operator.actions import Close, Ensure, RecordAttempt, SideBySide
from evidencerun_operator.health import SILENCE, Health
from evidencerun_operator.jsonlog import JsonFormatter
from evidencerun_operator.queue import Key, WorkQueue
from evidencerun_operator.reconcile import Outcome, Reconciler
from evidencerun_operator.run_list import RunList
from evidencerun_operator.run_object import read_run

KEY = Key("evidence", "demo")


class Passes:
    """A reconciler that does what it is told."""

    def __init__(self, outcome):
        self.outcome = outcome

    async def reconcile(self, key):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Delays(WorkQueue):
    """A queue that notes when it was asked to look again."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def add_after(self, key, seconds):
        self.asked.append(seconds)


@pytest.mark.parametrize(
    ("outcome", "delays"),
    [
        (Outcome(requeue_after=None), []),
        (Outcome(requeue_after=2.0), [2.0]),
        (Outcome(requeue_after=0), [0.02]),
        (Outcome(requeue_after=0, failure=StoreError("E3501", "away")), [0.5]),
        (Outcome(requeue_after=0.5, failure=ClusterError("E3004", "exceeded quota", status=403)), [0.5, 2.0]),
        (ClusterError("E3006", "changed meanwhile", status=409), [0.05]),
        (ClusterError("E3009", "failed", status=500), [0.5]),
        (KeyError("a fault of ours"), [0.5]),
    ],
)
async def test_what_a_pass_leads_to(outcome, delays):
    queue = Delays()
    await main._pass(queue, Passes(outcome), KEY)
    assert queue.asked == delays


async def test_a_fault_of_ours_in_one_run_is_logged_in_full_and_stops_no_other(caplog):
    queue, second = WorkQueue(), asyncio.Event()

    class Breaking:
        async def reconcile(self, key):
            if key != KEY:
                second.set()
            raise KeyError("broken")

    task = asyncio.create_task(main.worker(queue, Breaking()))
    queue.add(KEY)
    queue.add(Key("evidence", "other"))
    await asyncio.wait_for(second.wait(), 10)
    task.cancel()
    assert "pass broke" in caplog.text
    assert "KeyError" in caplog.text


class Recording:
    """An executor that fails where it is told to."""

    def __init__(self, faults):
        self.faults = faults
        self.done = []

    async def execute(self, uid, action):
        fault = self.faults.get(len(self.done))
        self.done.append(type(action).__name__)
        await asyncio.sleep(0)  # the turn of the other chains
        if fault:
            raise fault


def reconciler(executor):
    return Reconciler(None, observer=None, executor=executor, janitor=None, clock=main.now)


def record():
    return RecordAttempt.__new__(RecordAttempt)


def ensure():
    return Ensure.__new__(Ensure)


class Actions:
    """A decision with nothing but actions."""

    def __init__(self, *actions):
        self.actions = actions


REFUSED = StoreError("E3505", "the run is being sealed")
AWAY = StoreError("E3501", "away")
QUOTA = ClusterError("E3004", "exceeded quota", status=403)


@pytest.mark.parametrize(
    ("faults", "done", "failure"),
    [
        ({}, ["Ensure", "RecordAttempt", "RecordAttempt", "Ensure", "Ensure", "Close"], None),
        ({0: QUOTA}, ["Ensure", "RecordAttempt", "RecordAttempt", "Ensure", "Ensure", "Close"], QUOTA),
        ({1: REFUSED}, ["Ensure", "RecordAttempt", "RecordAttempt", "Ensure"], REFUSED),
        ({1: AWAY, 2: AWAY}, ["Ensure", "RecordAttempt", "RecordAttempt"], AWAY),
        ({3: QUOTA}, ["Ensure", "RecordAttempt", "RecordAttempt", "Ensure", "Ensure", "Close"], QUOTA),
    ],
)
async def test_what_fails_stops_what_depends_on_it_and_nothing_else(faults, done, failure):
    executor = Recording(faults)
    side_by_side = SideBySide(chains=((record(), ensure()), (record(), ensure())))
    found = await reconciler(executor)._act("uid", Actions(ensure(), side_by_side, Close()))
    assert executor.done == done
    assert found is failure


async def test_a_chain_does_not_wait_for_another():
    second = asyncio.Event()

    class Waiting:
        async def execute(self, uid, action):
            if isinstance(action, Close):
                second.set()
            await asyncio.wait_for(second.wait(), 5)

    chains = SideBySide(chains=((record(),), (Close(),)))
    assert await reconciler(Waiting())._act("uid", Actions(chains)) is None


class OneRun:
    """An API server with one run, or none."""

    def __init__(self, body):
        self.body = body
        self.written = []

    async def get(self, resource, name, *, namespace="", within=20):
        if self.body is None:
            raise ClusterError("E3005", "no such object", status=404)
        return self.body

    async def apply_status(self, resource, body, *, within=20):
        self.written.append(body)
        return body


class Janitor:
    def __init__(self):
        self.asked = []

    def request(self, uid):
        self.asked.append(uid)


class Forgetful:
    def forget(self, uid):
        pass


async def test_a_run_that_is_gone_going_or_complete_is_left_alone():
    complete = run_body(
        status={
            "conditions": [
                {"type": "Complete", "status": "True", "reason": "Passed", "lastTransitionTime": "2026-11-24T12:00:00Z"}
            ]
        }
    )
    going = run_body()
    going["metadata"]["deletionTimestamp"] = "2026-11-24T12:00:00Z"
    janitor = Janitor()
    for body in (None, complete, going):
        cluster = OneRun(body)
        made = Reconciler(cluster, observer=Forgetful(), executor=None, janitor=janitor, clock=main.now)
        assert await made.reconcile(KEY) == Outcome(requeue_after=None)
        assert cluster.written == []
    assert janitor.asked == [UID]


async def test_a_status_is_written_only_if_it_changed_and_for_that_very_object():
    plan = plan_of()
    run = planned_run(plan)
    cluster = OneRun(None)
    made = Reconciler(cluster, observer=None, executor=None, janitor=None, clock=main.now)
    assert await made._write(run, run.status.model_copy(update={"phase": "Probing"})) is True
    assert cluster.written[0]["metadata"] == {
        "name": "demo",
        "namespace": "evidence",
        "uid": UID,
        "resourceVersion": "7",
    }
    stored = make_run(status=cluster.written[0]["status"])
    assert await made._write(stored, stored.status) is False


async def test_an_event_queues_what_is_unfinished_and_has_the_rest_swept():
    queue, janitor, health = WorkQueue(), Janitor(), Health()
    runs = RunList(None, ("evidence",))
    registry = handlers.registry(queue, runs, janitor, health, kubeconfig="")
    (handler,) = registry._watching.get_all_handlers()
    await handler.fn(type="ADDED", body=run_body())
    later = run_body(name="later")
    later["metadata"]["uid"] = "uid-later"
    assert runs.queue_before(read_run(later)) == (0, 1)
    assert await queue.take() == KEY
    queue.done(KEY)
    await handler.fn(type="MODIFIED", body=run_body(status={"conditions": [{"type": "Complete", "status": "True"}]}))
    assert len(queue) == 0
    assert runs.queue_before(read_run(later)) == (0, 0)
    await handler.fn(type="DELETED", body=run_body())
    assert janitor.asked == [UID]


def test_kopf_uses_the_same_credentials_and_keeps_no_state_on_objects():
    found = Credentials(
        server="https://api", ca_path="/ca", token="t", certificate_path="", key_path="", insecure=False
    )
    info = handlers.connection_info(found)
    assert (info.server, info.ca_path, info.token, info.trust_env) == ("https://api", "/ca", "t", False)
    settings = handlers.operator_settings()
    assert settings.scanning.disabled
    assert settings.peering.standalone
    assert not settings.posting.enabled
    delays = settings.networking.error_backoffs
    assert list(delays) == list(delays) != []


def test_health_is_lost_by_silence_only(monkeypatch):
    health = Health()
    assert health.fault() == ""
    monkeypatch.setattr(health, "_last", health._last - SILENCE - 1)
    assert "no resync" in health.fault()
    health.beat()
    assert health.fault() == ""


@pytest.mark.parametrize("ends", ["shell", "part", "shell-fails"])
async def test_the_process_ends_with_any_of_its_parts(ends):
    async def forever():
        await asyncio.Event().wait()

    async def now():
        if ends == "shell-fails":
            raise RuntimeError("watch is dead")

    shell = now() if ends.startswith("shell") else forever()
    code = await main._until_one_ends(shell, [now() if ends == "part" else forever(), forever()])
    assert code == (0 if ends == "shell" else 1)


def test_a_log_line_is_one_json_object():
    record = logging.makeLogRecord({"msg": "pass", "levelname": "INFO", "run": "evidence/demo", "why": "a\nb"})
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line)["why"] == "a\nb"

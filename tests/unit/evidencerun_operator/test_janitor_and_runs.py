# SPDX-License-Identifier: Apache-2.0
"""The janitor takes nothing away from a run that lives, and no bundle from one that is over; the order of runs."""

from types import SimpleNamespace

import pytest
from operator_samples import PLACES, UID, active_world, make_run, run_body, stamp

from evidencerun.errors import StoreError
from evidencerun.kube.base import CONFIG_MAPS, http_fault
from evidencerun_operator.janitor import Janitor
from evidencerun_operator.run_list import RunList, run_row
from evidencerun_operator.run_object import read_run
from evidencerun_operator.views import ChildView
from evidencerun_operator.world import StoreLost

LIVING, OVER, GONE = "uid-living", "uid-over", "uid-gone"


def held(uid, **changes):
    """Return a run that is deleted, and kept by somebody's finalizer."""
    found = body(uid, **changes)
    found["metadata"] |= {"deletionTimestamp": stamp(5), "finalizers": ["example.com/mine"]}
    return found


def body(uid, *, complete=False, name="r", created=0, planned=False, namespace="evidence", accepted="True"):
    conditions = [{"type": "Accepted", "status": accepted}]
    conditions += [{"type": "Complete", "status": "True"}] if complete else []
    found = run_body(status={"conditions": conditions, **({"plan": {"x": 1}} if planned else {})}, name=name)
    found["metadata"] |= {"uid": uid, "creationTimestamp": stamp(created), "namespace": namespace}
    return found


class Lists:
    """Lists runs and anchors."""

    def __init__(self, runs=(), anchors=(), *, forbidden=False):
        self.runs = runs
        self.anchors = anchors
        self.forbidden = forbidden
        self.asked = []

    async def list_all(self, resource, *, project, namespace="", label_selector="", field_selector="", within=30):
        self.asked.append((resource.plural, namespace, field_selector))
        if resource == CONFIG_MAPS:
            labels = [{"evidencerun.dev/run-uid": uid} for uid in self.anchors]
            return [project({"metadata": {"labels": found}}) for found in labels]
        if self.forbidden and not namespace:
            raise http_fault(status=403, reason="Forbidden", message="no", where="GET")
        return [project(run) for run in self.runs]


class Store:
    def __init__(self, open_runs):
        self.open = list(open_runs)
        self.told = []
        self.fault = None

    async def open_runs(self):
        if self.fault:
            raise self.fault
        return self.open

    async def abandon(self, uid):
        self.told.append(("abandon", uid))

    async def close_run(self, uid):
        self.told.append(("close", uid))


class Observer:
    """Shows an anchor until it has been deleted."""

    places = PLACES

    def __init__(self):
        self.left = True

    def forget(self, uid):
        pass

    async def children_of(self, uid):
        anchor = ChildView(
            kind="ConfigMap", namespace=PLACES.probes, name="a", uid="u", created_at="", deleting=False, data={}
        )
        return active_world(None, StoreLost(), children=(anchor,) if self.left else ())


def janitor(lists, store):
    observer = Observer()
    done = []

    async def execute(uid, action):
        done.append((uid, action))
        observer.left = False

    runs = RunList(lists, ("evidence",))
    made = Janitor(lists, store, observer=observer, executor=SimpleNamespace(execute=execute), runs=runs)
    return made, done


async def test_only_what_is_gone_or_over_is_swept(monkeypatch):
    monkeypatch.setattr("evidencerun_operator.janitor._PACE", 0)
    lists = Lists([body(LIVING), body(OVER, complete=True)], [LIVING, OVER, GONE])
    store = Store([LIVING, OVER, GONE])
    made, done = janitor(lists, store)
    await made._search()
    assert made._wanted == {OVER: False, GONE: True}
    await made.sweep(OVER, gone=False)
    await made.sweep(GONE, gone=True)
    assert store.told == [("close", OVER), ("abandon", GONE)]
    assert len(done) == 1


async def test_without_the_store_objects_are_still_found():
    store = Store([])
    store.fault = StoreError("E3501", "away")
    made, _ = janitor(Lists([], [GONE]), store)
    await made._search()
    assert made._wanted == {GONE: True}


async def test_runs_are_listed_last_so_that_a_new_one_is_never_taken_for_gone():
    lists = Lists([], [])
    made, _ = janitor(lists, Store([]))
    await made._search()
    assert [plural for plural, _, _ in lists.asked] == ["configmaps", "configmaps", "evidenceruns"]


async def test_without_the_right_to_see_all_namespaces_the_listed_ones_are_read():
    lists = Lists([body(LIVING)], forbidden=True)
    runs = RunList(lists, ("evidence", "other"))
    assert await runs.find_scope() is False
    assert len(await runs.open_runs()) == 2
    assert [namespace for _, namespace, _ in lists.asked] == ["", "evidence", "other"]
    assert all(fields == "status.phase!=Finished" for _, _, fields in lists.asked)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], (0, 0)),
        ([body("a", planned=True, created=9)], (1, 0)),
        ([body("a", created=-1)], (0, 1)),
        ([body("a", created=1)], (0, 0)),
        ([body("a", name="aaa")], (0, 1)),
        ([body("a", name="zzz")], (0, 0)),
        ([body("a", created=-1, accepted="False")], (0, 0)),
        ([body("a", created=-1, namespace="elsewhere")], (0, 0)),
        ([body("a", planned=True, complete=True)], (0, 0)),
        ([held("a", planned=True), held("b", created=-1)], (0, 0)),
    ],
)
async def test_who_comes_first(others, expected):
    runs = RunList(Lists([body(UID, name="demo"), *others]), ("evidence",))
    assert await runs.queue_now(make_run()) == expected


MANY = [body(f"m{number}", created=-100 + number) for number in range(50)]


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        (MANY, (0, 1)),
        ([*MANY, body("p", planned=True)], (1, 0)),
        ([*MANY, body("p", planned=True, namespace="other")], (1, 2)),
        ([*MANY, body("o", namespace="other", created=-200)], (0, 3)),
    ],
)
async def test_nobody_fills_the_queue_of_other_namespaces(others, expected):
    mine = run_body(name="demo")
    mine["metadata"]["namespace"] = "other"
    runs = RunList(Lists([mine, *others]), ("evidence", "other"))
    assert await runs.queue_now(read_run(mine)) == expected


async def test_the_watch_keeps_up_what_is_remembered_of_the_queue():
    lists = Lists([body(UID, name="demo"), body("p", planned=True), *MANY])
    runs = RunList(lists, ("evidence",))
    assert runs.queue_before(make_run()) == (0, 0)
    await runs.open_runs()
    assert runs.queue_before(make_run()) == (1, 50)
    runs.saw(run_row(body("p", planned=True, complete=True)), gone=False)
    runs.saw(run_row(body("m1", created=-99)), gone=True)
    runs.saw(run_row(body("m0", created=-100, planned=True)), gone=False)
    runs.saw(run_row(body("new", created=-1)), gone=False)
    assert runs.queue_before(make_run()) == (1, 49)
    assert len(lists.asked) == 1

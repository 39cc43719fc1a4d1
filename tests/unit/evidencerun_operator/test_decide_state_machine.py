# SPDX-License-Identifier: Apache-2.0
"""The decision against everything that may happen around it, with an operator that is killed at any point."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from operator_samples import at
from simulated_cluster import NODE_NAMES, SimulatedCluster

from evidencerun.errors import ClusterError, StoreError
from evidencerun_operator.actions import SideBySide
from evidencerun_operator.decide import decide
from evidencerun_operator.failures import explained
from evidencerun_operator.run_object import read_run
from evidencerun_operator.status import ConditionType

SPECS = (
    {},
    {"fingerprintOnly": True},
    {"deliver": {"pvc": {"claimName": "evidence"}}},
    {"checks": {"skip": ["node-agreement"]}, "deadline": "5m"},
)
STEPS_TO_THE_END = 400


def chains_of(decision, backwards):
    """Return what may happen in any order, in one order or the other."""
    groups = [list(one.chains) if isinstance(one, SideBySide) else [(one,)] for one in decision.actions]
    return [chain for group in groups for chain in (reversed(group) if backwards else group)]


def one_pass(cluster, cut=None, *, backwards=False):
    """Make a pass; with `cut`, the process is killed after that many actions, before the status is written."""
    run = read_run(cluster.run)
    decision = decide(at(cluster.now), run, cluster.world())
    if run.complete:
        assert decision.actions == ()
        assert decision.requeue_after is None
        return decision
    assert decision.requeue_after is not None or decision.status.verdict
    failure = None
    done = 0
    for chain in chains_of(decision, backwards):
        for action in chain:
            if cut is not None and done >= cut:
                return decision
            done += 1
            try:
                cluster.execute(action)
            except (ClusterError, StoreError) as error:
                failure = failure or error
                break
    if cut is not None:
        return decision
    cluster.write(decision.status if failure is None else explained(decision.status, failure, now=at(cluster.now)))
    return decision


class Operation(RuleBasedStateMachine):
    cluster: SimulatedCluster
    external_deletions = False

    @initialize(spec=st.sampled_from(SPECS))
    def begin(self, spec):
        self.cluster = SimulatedCluster(**spec)

    @rule(backwards=st.booleans())
    def look(self, backwards):
        one_pass(self.cluster, backwards=backwards)

    @rule(cut=st.integers(0, 4), backwards=st.booleans())
    def killed(self, cut, backwards):
        one_pass(self.cluster, cut, backwards=backwards)

    @rule(seconds=st.sampled_from([0.5, 2, 15, 40, 130, 700]))
    def time_passes(self, seconds):
        self.cluster.now += seconds

    @rule(name=st.sampled_from(NODE_NAMES))
    def node_reports(self, name):
        if any(kind == "DaemonSet" for kind, _, _ in self.cluster.objects):
            self.cluster.store.reported.add(f"uid-{name}")

    @rule(data=st.data())
    def pod_starts(self, data):
        waiting = self.cluster.jobs_without_pods()
        if waiting:
            self.cluster.start_pod(*data.draw(st.sampled_from(sorted(waiting))))

    @rule(data=st.data(), code=st.sampled_from([0, 1, 2, 137]))
    def pod_ends(self, data, code):
        running = sorted(name for name, pod in self.cluster.pods.items() if pod["status"]["phase"] == "Pending")
        if running:
            self.cluster.end_pod(data.draw(st.sampled_from(running)), code)

    @rule(data=st.data())
    def image_cannot_be_pulled(self, data):
        running = sorted(name for name, pod in self.cluster.pods.items() if pod["status"]["phase"] == "Pending")
        if running:
            self.cluster.block_pod(data.draw(st.sampled_from(running)))

    @rule(data=st.data())
    def pod_is_deleted(self, data):
        if self.cluster.pods:
            del self.cluster.pods[data.draw(st.sampled_from(sorted(self.cluster.pods)))]

    @rule(up=st.booleans())
    def store_comes_or_goes(self, up):
        self.cluster.store.up = up

    @rule()
    def sealer_signs(self):
        if self.cluster.store.order:
            self.cluster.store.signed = True

    @rule()
    def sealer_refuses(self):
        if self.cluster.store.order and not self.cluster.store.signed:
            self.cluster.store.refusal = "E5001 no key"

    @precondition(lambda self: not self.cluster.run["spec"].get("cancel"))
    @rule()
    def user_cancels(self):
        self.cluster.run["spec"]["cancel"] = True
        self.cluster.run["metadata"]["generation"] += 1

    @invariant()
    def each_child_is_made_once(self):
        assert all(number == 1 for number in getattr(self, "cluster", SimulatedCluster()).made.values())

    @invariant()
    def the_verdict_never_changes(self):
        given = [verdict for verdict in getattr(self, "cluster", SimulatedCluster()).verdicts if verdict]
        assert len(set(given)) <= 1

    @invariant()
    def nothing_is_written_after_the_end(self):
        assert getattr(self, "cluster", SimulatedCluster()).writes_after_complete == 0

    @invariant()
    def all_conditions_are_there_once_anything_is(self):
        status = read_run(getattr(self, "cluster", SimulatedCluster()).run).status
        if status.conditions:
            assert [c.type for c in status.conditions] == [str(kind) for kind in ConditionType]

    def teardown(self):
        """Whatever happened: with the surroundings well again, every run comes to its end."""
        cluster = getattr(self, "cluster", None)
        if cluster is None:
            return
        cluster.store.up = True
        for _ in range(STEPS_TO_THE_END):
            decision = one_pass(cluster)
            if cluster.complete:
                break
            cluster.now += max(1.0, decision.requeue_after or 0)
            for namespace, job in cluster.jobs_without_pods():
                cluster.start_pod(namespace, job)
            for name, pod in cluster.pods.items():
                if pod["status"]["phase"] == "Pending" and not pod["status"].get("containerStatuses"):
                    cluster.end_pod(name, 0)
            if any(kind == "DaemonSet" for kind, _, _ in cluster.objects):
                cluster.store.reported |= {f"uid-{name}" for name in NODE_NAMES}
            cluster.store.signed = cluster.store.signed or bool(cluster.store.order)
        self.ended_well(cluster)

    def ended_well(self, cluster):
        status = read_run(cluster.run).status
        assert cluster.complete, f"not finished: {status.phase} {status.summary}"
        assert status.verdict
        by_type = {condition.type: condition for condition in status.conditions}
        assert all(condition.status != "Unknown" for condition in status.conditions)
        sealed = by_type["Sealed"]
        assert sealed.status == "True" or sealed.reason not in ("Waiting", "Sealing", "SigningFails")
        assert sealed.status != "True" or status.bundle
        assert status.next_action.startswith("kubectl")
        left = [key for key in cluster.objects if key[1] != "evidence"]
        assert by_type["CleanedUp"].status == "False" or not left
        assert all(entry.state == "ended" for entry in cluster.store.attempts.values()) or not cluster.store.order


Operation.TestCase.settings = settings(
    max_examples=75, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestOperation = Operation.TestCase


def test_an_undisturbed_run_passes_every_state_in_order():
    cluster = SimulatedCluster(deliver={"pvc": {"claimName": "evidence"}})
    phases = []
    for _ in range(60):
        decision = one_pass(cluster)
        phase = decision.status.phase
        if not phases or phases[-1] != phase:
            phases.append(phase)
        if cluster.complete:
            break
        cluster.now += 0.5
        for namespace, job in cluster.jobs_without_pods():
            cluster.start_pod(namespace, job)
        for name in list(cluster.pods):
            cluster.end_pod(name, 0)
        if any(kind == "DaemonSet" for kind, _, _ in cluster.objects):
            cluster.store.reported = {f"uid-{name}" for name in NODE_NAMES}
        cluster.store.signed = bool(cluster.store.order)
    assert phases == [
        "Pending",
        "Planned",
        "Probing",
        "Evaluating",
        "Checking",
        "Sealing",
        "Delivering",
        "CleaningUp",
        "Finished",
    ]
    assert cluster.made == dict.fromkeys(cluster.made, 1)
    assert len(cluster.made) == 6

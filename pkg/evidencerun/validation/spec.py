# SPDX-License-Identifier: Apache-2.0
"""The specs of our two kinds, `EvidenceRun` and `EvidencePolicy`.

The CRDs are generated from these models, the operator and the store read objects with them, and the frozen plan holds
them. Every list and string is bounded, so that the API server accepts the CEL rules and objects stay small. Reading
ignores unknown members: a newer API server must not stop an older operator.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from evidencerun.limits import ATTEMPTS_MAX, CATALOG_MAX, INLINE_RECIPE_MAX, NODES_MAX
from evidencerun.validation.duration import PATTERN

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
"""A DNS-1123 label."""
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""A DNS-1123 subdomain."""
Duration = Annotated[str, Field(max_length=32, pattern=PATTERN)]
LabelKey = Annotated[str, Field(max_length=317)]
LabelValue = Annotated[str, Field(max_length=63)]
Image = Annotated[str, Field(min_length=1, max_length=512)]


class SpecModel(BaseModel):
    """camelCase on the wire, frozen, lenient to unknown members."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )


class Phase(StrEnum):
    """The phases of a recipe's validation, in the order in which they run."""

    DEPLOYMENT = "deployment"
    CONFORMANCE = "conformance"
    PERFORMANCE = "performance"


class LogsMode(StrEnum):
    """Where the logs of checks go."""

    SEPARATE = "separate"
    """An archive of its own, bound by its digest."""
    BUNDLED = "bundled"
    """Inside the bundle and its inventory."""


class ConfigMapKey(SpecModel):
    """A key of a ConfigMap in the run's own namespace."""

    name: ObjectName
    key: Annotated[str, Field(min_length=1, max_length=253)] = "recipe.yaml"


class RecipeSource(SpecModel):
    """Where the recipe is: exactly one of the two members."""

    inline: Annotated[str, Field(max_length=INLINE_RECIPE_MAX)] | None = None
    config_map: ConfigMapKey | None = None


class CheckSelection(SpecModel):
    """Narrowing of the declared checks; it is disclosed everywhere."""

    only: Annotated[
        list[Name], Field(max_length=CATALOG_MAX, description="Run these of the declared checks and no other.")
    ] = []
    skip: Annotated[
        list[Name], Field(max_length=CATALOG_MAX, description="Leave these of the declared checks out.")
    ] = []


class Target(SpecModel):
    """Which nodes are looked at."""

    pools: Annotated[list[Name], Field(max_length=16, description="Pools of the policy; empty means all.")] = []
    max_nodes: Annotated[int, Field(ge=1, le=NODES_MAX)] | None = None
    min_coverage_percent: Annotated[
        int, Field(ge=1, le=100, description="Share of the target nodes that must report for Passed.")
    ] = 100


class PvcDelivery(SpecModel):
    """A PersistentVolumeClaim in the run's own namespace."""

    claim_name: ObjectName
    path: Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9][-A-Za-z0-9._/]*$")] = "runs"
    """Folder in the volume; each run gets one of its own below it."""


class OciDelivery(SpecModel):
    """An OCI repository, with a registry Secret in the run's own namespace."""

    repository: Annotated[str, Field(min_length=3, max_length=255)]
    """Registry and repository without a tag, such as registry.example.com/team/evidence."""
    secret_name: ObjectName | None = None
    """A Secret of type kubernetes.io/dockerconfigjson in the run's namespace; its key ca.crt names a CA of your own."""
    plain_http: Annotated[bool, Field(alias="plainHTTP")] = False
    """Talk to the registry without TLS."""


class Delivery(SpecModel):
    """Copies of the sealed bundle; the store keeps it in any case."""

    pvc: PvcDelivery | None = None
    oci: OciDelivery | None = None
    logs: Annotated[bool, Field(description="Deliver the archive of the checks' logs too; logs are not redacted.")] = (
        False
    )


class RunSpec(SpecModel):
    """`EvidenceRun.spec`; immutable but for `cancel`, which goes from false to true only."""

    recipe: RecipeSource
    policy: Annotated[ObjectName, Field(description="Name of the EvidencePolicy, which says what checks exist.")] = (
        "default"
    )
    phases: Annotated[
        list[Phase], Field(max_length=3, description="Only these phases of the recipe's validation; empty means all.")
    ] = []
    fingerprint_only: Annotated[bool, Field(description="Look at the nodes and run no check.")] = False
    checks: CheckSelection = CheckSelection()
    target: Target = Target()
    deadline: Annotated[Duration, Field(description="When the run is over at the latest, such as 90s, 15m or 2h.")] = (
        "2h"
    )
    logs: LogsMode = LogsMode.SEPARATE
    """separate: an archive beside the bundle, bound by its digest; bundled: inside the bundle."""
    deliver: Delivery | None = None
    cancel: Annotated[bool, Field(description="true ends the run; what is known by then is sealed.")] = False


class Access(StrEnum):
    """How a probe reaches the vendor's library."""

    AUTO = "auto"
    RUNTIME_CLASS = "runtimeClass"
    PRIVILEGED = "privileged"
    PCI_ONLY = "pciOnly"


class Toleration(SpecModel):
    """A Kubernetes toleration."""

    key: Annotated[str, Field(max_length=317)] = ""
    operator: Annotated[str, Field(pattern=r"^(Exists|Equal)$", max_length=6)] = "Equal"
    value: Annotated[str, Field(max_length=63)] = ""
    effect: Annotated[str, Field(pattern=r"^(|NoSchedule|PreferNoSchedule|NoExecute)$", max_length=16)] = ""


class Pool(SpecModel):
    """A set of nodes that one DaemonSet covers."""

    name: Name
    node_selector: Annotated[dict[LabelKey, LabelValue], Field(max_length=16)] = {}
    """Labels that a node of this pool has; empty means every node."""
    tolerations: Annotated[list[Toleration], Field(max_length=16)] = []
    access: Access = Access.AUTO
    """auto takes the RuntimeClass of the vendor if there is one; pciOnly reads PCI and sysfs only."""
    privileged: bool = False
    """Whether auto may run the probe privileged."""
    fallback: bool = False
    """Used only if no other pool has a node, so that a cluster without GPUs gets evidence too."""


class PolicyLimits(SpecModel):
    """Upper bounds that a run cannot exceed."""

    max_nodes: Annotated[int, Field(ge=1, le=NODES_MAX)] = NODES_MAX
    """Target nodes that a run may have at most."""
    max_deadline: Annotated[Duration, Field(description="Greatest deadline that a run may ask for.")] = "6h"
    max_concurrent_runs: Annotated[
        int, Field(ge=1, le=100, description="Runs at work at the same time; others wait.")
    ] = 4
    probe: Duration = "10m"
    """From Planned until every target node has reported; stragglers are named then."""
    seal: Duration = "15m"
    """For assembling and signing, after the deadline too; then the bundle stays unsigned."""
    deliver: Duration = "15m"
    """For copying the bundle; it stays in the store in any case."""


class Retention(SpecModel):
    """How long things are kept after a run has ended."""

    bundles: Annotated[Duration, Field(description="Sealed bundles in the store.")] = "90d"


class Rights(StrEnum):
    """What a check may do with the Kubernetes API."""

    NONE = "none"
    AICR_READ = "aicr-read"
    AICR_WIDE = "aicr-wide"


class Scope(StrEnum):
    """How often a check runs."""

    CLUSTER = "cluster"


class EnvVar(SpecModel):
    """An environment variable with a literal value."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    value: Annotated[str, Field(max_length=1024)] = ""


class Resources(SpecModel):
    """Requests, which are the limits too."""

    cpu: Annotated[str, Field(max_length=16)] = "500m"
    memory: Annotated[str, Field(max_length=16)] = "256Mi"


class CatalogEntry(SpecModel):
    """One check that the platform team allows; tenants choose names, never images."""

    name: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    phase: Phase
    image: Image
    """With its digest; what the kubelet really ran is recorded beside it."""
    timeout: Duration = "5m"
    """How long the container may run; what it says after that does not count. Its pod is ended 30 s later."""
    rights: Rights = Rights.NONE
    """none: no API token; aicr-read: the chart's read-only role; aicr-wide: what AICR's own validators ask for."""
    scope: Scope = Scope.CLUSTER
    exclusive: Annotated[str, Field(max_length=63)] = "none"
    """Checks with the same value other than `none` never run at the same time within a run."""
    mandatory: bool = False
    """A run in which it is skipped is Incomplete."""
    retries: Annotated[int, Field(ge=0, le=ATTEMPTS_MAX - 1)] = 0
    """Further attempts after one that did not pass; all of them are recorded."""
    args: Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=32)] = []
    env: Annotated[list[EnvVar], Field(max_length=32)] = []
    resources: Resources = Resources()


class Redaction(StrEnum):
    """What leaves the cluster in a bundle."""

    MINIMAL = "minimal"
    NONE = "none"


class SigningMode(StrEnum):
    """How bundles are signed; where the key is, the sealer's deployment knows."""

    KEY = "key"
    KEYLESS = "keyless"
    KMS = "kms"
    NONE = "none"


class Signing(SpecModel):
    """The signing rule of a policy."""

    mode: SigningMode = SigningMode.KEY


class PolicySpec(SpecModel):
    """`EvidencePolicy.spec`: what the platform team allows."""

    pools: Annotated[list[Pool], Field(min_length=1, max_length=16)]
    limits: PolicyLimits = PolicyLimits()
    retention: Retention = Retention()
    catalog: Annotated[list[CatalogEntry], Field(max_length=CATALOG_MAX)] = []
    """The checks that runs may choose from by name."""
    redaction: Redaction = Redaction.MINIMAL
    """minimal replaces identifiers of nodes and the messages of foreign checks; none publishes all."""
    signing: Signing = Signing()

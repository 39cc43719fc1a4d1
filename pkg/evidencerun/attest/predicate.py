# SPDX-License-Identifier: Apache-2.0
"""AICR's recipe-evidence predicate, versions 1 to 3.

All three are read, version 3 is written. Members that this model does not know are left alone when reading, as in-toto
asks of consumers; for bundles of our own the verifier compares the whole predicate with one that it derives itself.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from evidencerun import limits
from evidencerun.canonical import RecipePredicate
from evidencerun.errors import EvidenceError

PREDICATE_TYPES: Final = {f"https://aicr.run/recipe-evidence/{version}": version for version in RecipePredicate}
PREDICATE_TYPE: Final = "https://aicr.run/recipe-evidence/v3"
"""The one that is written."""
SCHEMA_VERSION: Final = "1.0.0"
PRODUCER_PREFIX: Final = "evidencerun/"
_SELECTION: Final = re.compile(r"[A-Za-z0-9._-]+=[A-Za-z0-9._-]+")

Text = Annotated[str, Field(max_length=limits.TEXT_MAX)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
Count = Annotated[int, Field(ge=0)]


class _Member(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="ignore", frozen=True
    )


class ValidatorImage(_Member):
    """An image that ran checks. AICR leaves `digest` empty; we never do."""

    image: Text
    digest: Text


class RecipeIdentity(_Member):
    """The recipe: its name from the criteria, its digest as 64 bare hexadecimal digits."""

    name: Text
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", max_length=64)]


class PhaseSummary(_Member):
    """Counts of one phase that ran and the digest of its CTRF report. `failed` includes other and pending in ours."""

    passed: Count
    failed: Count
    skipped: Count
    ctrf_digest: Digest


class BomSummary(_Member):
    """The BOM: `image_count` is the number of its components, as AICR counts."""

    format: Text
    version: Text
    digest: Digest
    image_count: Count


class ManifestSummary(_Member):
    """The digest of manifest.json and the number of files that it lists."""

    digest: Digest
    file_count: Count


class RedactionSummary(_Member):
    """The redaction policy and the ids of its rules that fired, sorted."""

    policy: Text
    version: Text
    applied: list[Text]


class ProfileSummary(_Member):
    """The profile of an AICR recipe, read only."""

    selection: Text
    advertiser: Text | None = None
    policy_descriptor_identity: Annotated[str, Field(min_length=1, max_length=limits.TEXT_MAX)]


class CriteriaMatch(_Member):
    """Criteria against fingerprint, in AICR's words."""

    matched: bool
    per_dimension: list[dict[str, Any]]


class Predicate(_Member):
    """The predicate. `attested_at` is RFC 3339, UTC, whole seconds: the producer's clock when the bundle was built."""

    schema_version: Text
    attested_at: Text
    aicr_version: Text
    aicr_commit: Text | None = None
    validator_catalog_version: Text = ""
    validator_images: list[ValidatorImage] | None = None
    recipe: RecipeIdentity
    fingerprint: dict[str, Any]
    criteria_match: CriteriaMatch
    phases: dict[Text, PhaseSummary]
    bom: BomSummary
    manifest: ManifestSummary
    redaction: RedactionSummary | None = None
    profile: ProfileSummary | None = None

    @property
    def ours(self) -> bool:
        """Whether EvidenceRun says it built this."""
        return self.aicr_version.startswith(PRODUCER_PREFIX)

    def to_dict(self) -> dict[str, Any]:
        """Return the predicate as it is written."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def load_predicate(value: object, version: RecipePredicate) -> Predicate:
    """Read a predicate of the given version.

    Raises:
        EvidenceError: E2020, a member is missing or of the wrong shape, or a profile stands where none may, or none
            where one must.

    """
    try:
        predicate = Predicate.model_validate(value)
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _broken(place, str(first["msg"])) from fault
    if predicate.schema_version != SCHEMA_VERSION:
        raise _broken("schemaVersion", f"{predicate.schema_version[:40]!a} found, {SCHEMA_VERSION} expected")
    if version is RecipePredicate.V1 and predicate.profile is not None:
        raise _broken("profile", "version 1 of the predicate has no profile")
    if version is RecipePredicate.V2 and predicate.profile is None:
        raise _broken("profile", "version 2 of the predicate needs a profile")
    if predicate.profile is not None and not _SELECTION.fullmatch(predicate.profile.selection):
        raise _broken("profile.selection", "name=value expected")
    return predicate


def _broken(where: str, why: str) -> EvidenceError:
    return EvidenceError("E2020", "the predicate breaks its format", where=f"predicate.{where}".rstrip("."), why=why)

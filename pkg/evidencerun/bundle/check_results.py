# SPDX-License-Identifier: Apache-2.0
"""Files that a check leaves under /results and that have a meaning: measurements.json and images.json.

A file that breaks its form is not used, and the attempt's notes say why; it never fails a run and never disappears.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from evidencerun import limits
from evidencerun.bundle.record import Measurement, ObservedImage, Text
from evidencerun.canonical import parse_json
from evidencerun.errors import InputError

MEASUREMENTS_FILE: Final = "measurements.json"
IMAGES_FILE: Final = "images.json"


class _Image(BaseModel):
    model_config = ConfigDict(extra="ignore")
    namespace: Text
    kind: Text
    name: Text
    container: Text
    image: Text
    imageID: Text = ""  # noqa: N815
    component: Text = ""


class _Number(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)
    name: Text
    value: int | float = Field(allow_inf_nan=False)
    unit: Text = ""
    node: Text = ""


_NUMBERS: Final = TypeAdapter(list[_Number])
_IMAGES: Final = TypeAdapter(list[_Image])
Item = TypeVar("Item")


def read_measurements(results: Mapping[str, bytes], notes: list[str]) -> list[Measurement]:
    """Return the numbers of measurements.json: a list of {name, value, unit, node?}; other members are left out."""
    numbers = _read(results, MEASUREMENTS_FILE, _NUMBERS, limits.MEASUREMENTS_MAX, notes)
    try:
        return [Measurement.model_validate(number.model_dump()) for number in numbers]
    except ValidationError as fault:
        notes.append(_note(MEASUREMENTS_FILE, str(fault.errors()[0]["msg"])))
        return []


def read_images(
    results: Mapping[str, bytes], notes: list[str], *, known: Sequence[ObservedImage] = ()
) -> list[ObservedImage]:
    """Return the containers of images.json: a list of {namespace, kind, name, container, image, imageID, component}.

    Those that other attempts have seen (`known`) are left out, and all of them if there are too many together.
    """
    images = _read(results, IMAGES_FILE, _IMAGES, limits.OBSERVED_IMAGES_MAX, notes)
    listed = [
        ObservedImage(
            namespace=image.namespace,
            kind=image.kind,
            name=image.name,
            container=image.container,
            image=image.image,
            image_id=image.imageID,
            component=image.component,
        )
        for image in images
    ]
    found = list(dict.fromkeys([*known, *listed]))
    if len(found) > limits.OBSERVED_IMAGES_MAX or observed_bytes(found) > limits.OBSERVED_IMAGES_BYTES_MAX:
        notes.append(_note(IMAGES_FILE, f"with other attempts it lists {len(found)} containers, or too long names"))
        return []
    return found[len(known) :]


def observed_bytes(images: Iterable[ObservedImage]) -> int:
    """Return how long all texts about these containers are together, in bytes of UTF-8."""
    return sum(len(str(text).encode()) for image in images for _, text in image)


def _read(
    results: Mapping[str, bytes], name: str, adapter: TypeAdapter[list[Item]], at_most: int, notes: list[str]
) -> list[Item]:
    if name not in results:
        return []
    try:
        plain = parse_json(
            results[name], what=name, max_bytes=limits.RESULT_FILE_MAX, max_depth=limits.REPORT_JSON_DEPTH
        )
        found = adapter.validate_python(plain)
    except InputError as fault:
        notes.append(_note(name, str(fault)))
        return []
    except ValidationError as fault:
        first = fault.errors()[0]
        notes.append(_note(name, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"))
        return []
    if len(found) > at_most:
        notes.append(_note(name, f"{len(found)} entries found, at most {at_most} are read"))
        return []
    return found


def _note(name: str, why: str) -> str:
    return f"{name} was not used: {why}"[:500]

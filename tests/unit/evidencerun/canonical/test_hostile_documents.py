# SPDX-License-Identifier: Apache-2.0
"""Documents made to hurt a reader are refused by name, each within one second of CPU time, all within 256 MB.

They are read in a process of its own, so that its memory can be measured.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MEASURE = """
import json, resource, time
from evidencerun.canonical import canonical_yaml, parse_json, parse_yaml
from evidencerun.errors import InputError
from evidencerun.recipe import load_recipe

def keys(count):
    return b"".join(b"k%d: v\\n" % number for number in range(count))

bomb = b"a: &a [x, x]\\n" + b"".join(b"%c: &%c [*%c, *%c]\\n" % (c, c, c - 1, c - 1) for c in range(98, 122))
documents = {
    "a YAML bomb": (load_recipe, bomb),
    "10^6 keys": (load_recipe, keys(10**6)),
    "as many keys as fit": (load_recipe, keys(80_000)),
    "10^6 keys of JSON": (lambda data: parse_json(data, what="x"), b"{" + b'"":1,' * 10**6 + b"}"),
    "200,000 items": (canonical_yaml, b"[" + b"a," * 200_000 + b"]"),
    "500,000 brackets": (canonical_yaml, b"[" * 500_000),
    "500,000 dashes": (canonical_yaml, b"- " * 500_000),
    "500,000 question marks": (canonical_yaml, b"? " * 500_000),
    "a text of 10^5 characters": (load_recipe, b"kind: " + b"x" * 10**5),
    "a quoted text of 10^5 characters": (load_recipe, b'kind: "' + b"x" * 10**5 + b'"'),
    "a key of 10^5 characters": (load_recipe, b"? " + b"x" * 10**5 + b"\\n: y\\n"),
    "10^6 line ends in quotes": (canonical_yaml, b'a: "' + b"\\n" * 10**6),
    "500,000 comments": (canonical_yaml, b"#\\n" * 500_000),
    "NaN": (lambda data: parse_yaml(data, what="x"), b"a: .nan"),
    "a huge integer": (lambda data: parse_yaml(data, what="x"), b"a: " + b"9" * 60_000),
    "surrogates": (load_recipe, b'kind: "\\\\ud83d\\\\ude00"'),
    "duplicate keys": (load_recipe, b"kind: a\\nkind: b\\n"),
    "a deep JSON": (lambda data: parse_json(data, what="x"), b'{"a":' * 200_000),
    "500,000 escaped quotes of JSON": (lambda data: parse_json(data, what="x"), b'"' + b'\\\\"' * 500_000),
    "16 MB of closing brackets": (lambda data: parse_json(data, what="x", max_bytes=10**8), b"[" + b"]" * 16 * 10**6),
    "16 MB of empty texts": (lambda data: parse_json(data, what="x", max_bytes=10**8), b"[" + b'""' * 8 * 10**6),
    "10^6 backslashes of JSON": (lambda data: parse_json(data, what="x"), b'"' + b'\\\\' * 999_999),
}
found = {}
for name, (read, document) in documents.items():
    start = time.process_time()
    try:
        read(document)
        code = "accepted"
    except InputError as refusal:
        code = refusal.code
    found[name] = [code, time.process_time() - start]
print(json.dumps({"found": found, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""


@pytest.fixture(scope="module")
def measured() -> dict[str, object]:
    result = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    answer: dict[str, object] = json.loads(result.stdout)
    return answer


def test_every_document_is_refused_by_name(measured: dict[str, dict[str, list[object]]]) -> None:
    codes = {name: code for name, (code, _) in measured["found"].items()}

    assert codes == {
        "a YAML bomb": "E1111",
        "10^6 keys": "E1101",
        "as many keys as fit": "E1107",
        "10^6 keys of JSON": "E1101",
        "200,000 items": "E1107",
        "500,000 brackets": "E1108",
        "500,000 dashes": "E1108",
        "500,000 question marks": "E1108",
        "a text of 10^5 characters": "E1110",
        "a quoted text of 10^5 characters": "E1110",
        "a key of 10^5 characters": "E1110",
        "10^6 line ends in quotes": "E1106",
        "500,000 comments": "E1103",
        "NaN": "E1114",
        "a huge integer": "E1114",
        "surrogates": "E1106",
        "duplicate keys": "E1109",
        "a deep JSON": "E1108",
        "500,000 escaped quotes of JSON": "E1106",
        "16 MB of closing brackets": "E1106",
        "16 MB of empty texts": "E1106",
        "10^6 backslashes of JSON": "E1106",
    }


def test_each_within_a_second_and_all_within_256_megabytes(measured: dict[str, object]) -> None:
    found = measured["found"]
    assert isinstance(found, dict)
    slow = {name: seconds for name, (_, seconds) in found.items() if seconds > 1}

    assert slow == {}
    assert isinstance(measured["peak"], int)
    assert measured["peak"] < 256 * 1024

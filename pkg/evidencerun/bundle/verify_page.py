# SPDX-License-Identifier: Apache-2.0
"""VERIFY.md: how to check a bundle without EvidenceRun. The same commands stand in docs/verify-without-us.md.

The text is the same in every bundle, so a verifier compares it with its own: whoever can forge a bundle could also
write instructions that check nothing.
"""

from __future__ import annotations

from typing import Final

COMMANDS: Final = r"""1. The signature is the key owner's, and it is over `manifest.json`. (A signature made with a
   key stands in no public log, hence `--insecure-ignore-tlog`.)

```sh
cosign verify-blob-attestation --bundle attestation.intoto.jsonl --key "$KEY" --insecure-ignore-tlog \
  --type https://aicr.run/recipe-evidence/v3 manifest.json
```

2. Every file is the one that the manifest lists:

```sh
jq -r '.files[] | (.sha256 | ltrimstr("sha256:")) + "  " + .path' manifest.json | sha256sum --check --strict
```

3. No file is there that the manifest does not list:

```sh
walk() {
  for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
    if [ -d "$entry" ] && [ ! -L "$entry" ]; then walk "$entry"
    elif [ -e "$entry" ] || [ -L "$entry" ]; then printf '%s\n' "${entry#./}"; fi
  done
}
walk . |
  jq -Rn -e --slurpfile m manifest.json '[inputs] - [$m[0].files[].path]
    - ["manifest.json", "statement.intoto.json", "attestation.intoto.jsonl"] == []'
```

4. The readable statement says what was signed, and names this manifest:

```sh
jq -e --slurpfile a attestation.intoto.jsonl \
  '.predicate == ($a[0].dsseEnvelope.payload | @base64d | fromjson | .predicate)' statement.intoto.json
jq -r '(.predicate.manifest.digest | ltrimstr("sha256:")) + "  manifest.json"' statement.intoto.json |
  sha256sum --check --strict
```

5. The reports and the bill of materials that the statement names are the files here:

```sh
jq -e --slurpfile m manifest.json '[.predicate.phases | to_entries[] | ["ctrf/" + .key + ".json", .value.ctrfDigest]]
  + [["bom.cdx.json", .predicate.bom.digest]] - [$m[0].files[] | [.path, .sha256]] == []' statement.intoto.json
```

6. The statement counts what the reports hold (other and pending count as failed):

```sh
wrong=
for file in ctrf/*.json; do
  [ -f "$file" ] || continue
  phase=${file#ctrf/}
  jq -e --slurpfile s statement.intoto.json --arg phase "${phase%.json}" '[.results.tests[].status] as $all
    | ($all | map(select(. == "passed")) | length) as $passed
    | ($all | map(select(. == "skipped")) | length) as $skipped
    | $s[0].predicate.phases[$phase] | .passed == $passed and .skipped == $skipped
      and .failed == ($all | length) - $passed - $skipped' "$file" || wrong="$wrong $file"
done
[ -z "$wrong" ] || { echo "WRONG:$wrong"; (exit 1); }
```

7. What the run says of itself. The verdict is `Passed` only if at least one declared check passed, none failed or ended
   otherwise, only optional ones were skipped, enough nodes reported and nothing observed contradicts the recipe:

```sh
jq '{verdict, counts, nodes: (.nodes | {targeted, reported, coverageMet}), match: .match.overall, trust}' run.json
```

8. The logs, if you have their archive (`.logs.digest` is empty if the logs stand in the bundle):

```sh
jq -r '(.logs.digest | ltrimstr("sha256:")) + "  ../evidence-logs.tar.gz"' run.json | sha256sum --check --strict
```
"""
_LIMITS: Final = """
## What this does not show

It does not show that nobody but the signer saw this cluster: it shows what the holder of the key stated, and about
which bytes. The times in it are the signer's own. These commands do not derive the fingerprint, the match and the
verdict again from the node reports, as `evr verify` does; the specification says how.
"""
_PAGE: Final = """# Check this bundle yourself

Needed: cosign (3 or later), jq (1.6 or later), sha256sum, and the signer's public key from a source that you trust, not
from here. Instructions inside a bundle come from whoever made it: compare them with docs/verify-without-us.md in the
documentation of EvidenceRun, or let `evr verify` do it.

Run these in the bundle's folder, one after the other. The first six must end with exit code 0; the last two inform.

```sh
KEY=../evidence.pub
```

"""
_DOCUMENTATION: Final = """# Verify a bundle without EvidenceRun

A bundle can be checked with three programs that have nothing to do with us: cosign (3 or later), jq (1.6 or later) and
sha256sum. Unpack the archive into an empty folder, put the signer's public key beside it, and run the commands in the
folder. Take the key from a source that you trust: the ConfigMap `evidence-public` of the cluster, or its owner.
(After `evr pull --key --unpack` folder and key are there: `cd bundle` is enough.)

```sh
mkdir bundle && tar -xzf bundle.tar.gz -C bundle && cd bundle
KEY=../evidence.pub
```

The first six must end with exit code 0; the last two inform. The same commands stand in each bundle's VERIFY.md;
`evr verify` says so where a bundle's differ.

"""


def verify_page() -> bytes:
    """Return VERIFY.md."""
    return (_PAGE + COMMANDS + _LIMITS).encode()


def documentation_page() -> bytes:
    """Return docs/verify-without-us.md."""
    return (_DOCUMENTATION + COMMANDS + _LIMITS).encode()

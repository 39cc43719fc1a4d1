# SPDX-License-Identifier: Apache-2.0
"""Every cap on size, count, depth and time, with its unit and its reason.

Whatever is read from outside is bounded by one of these. Sizes are bytes, times are seconds, unless the name says
otherwise.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- recipes -----------------------------------------------------------------------------------------------------
INLINE_RECIPE_MAX: Final = 128 * KIB
"""`spec.recipe.inline`: `kubectl apply` keeps a second copy in an annotation, and annotations end at 256 KiB."""
RECIPE_MAX: Final = 1 * MIB
"""A recipe in any form: a ConfigMap cannot hold more, and AICR's verifier reads no more."""

# --- node reports --------------------------------------------------------------------------------------------------
REPORT_GZIP_MAX: Final = 256 * KIB
"""A node report on the wire; a real 8-GPU report is about 17 KiB before compression."""
REPORT_MAX: Final = 4 * MIB
"""A node report inflated; a decompressor stops here, which ends gzip bombs."""
REPORT_JSON_DEPTH: Final = 32
"""Nesting of JSON that nodes and checks send; ours needs eight."""

# --- runs ----------------------------------------------------------------------------------------------------------
NODES_MAX: Final = 5000
"""Target nodes of a run: the largest cluster that Kubernetes supports."""
STATUS_SAMPLE_MAX: Final = 20
"""Names listed in `status.nodes.sample`: status stays small enough for etcd and for people."""
CATALOG_MAX: Final = 128
"""Checks in one policy; AICR's catalog has 24."""
ATTEMPTS_MAX: Final = 10
"""Attempts of one check in one run; each is disclosed in the bundle."""

# --- results of checks -----------------------------------------------------------------------------------------------
RESULT_FILE_MAX: Final = 8 * MIB
"""One file under /results; larger artefacts belong elsewhere and are referenced by digest."""
RESULT_FILES_MAX: Final = 64
"""Files per attempt."""
CHECK_LOG_MAX: Final = 16 * MIB
"""Log kept per attempt; the rest is dropped, and the cut is disclosed with its byte count."""
TERMINATION_MESSAGE_MAX: Final = 4096
"""What the kubelet keeps of /dev/termination-log."""

# --- bundles -------------------------------------------------------------------------------------------------------
BUNDLE_ARCHIVE_MAX: Final = 256 * MIB
"""A bundle as tar.gz; 5,000 node reports compress to about 10 MiB."""
BUNDLE_MAX: Final = 1024 * MIB
"""A bundle unpacked, in memory."""
BUNDLE_FILE_MAX: Final = 512 * MIB
"""One file of a bundle."""
BUNDLE_FILES_MAX: Final = 2000
"""Files of a bundle: three phases, their checks and logs."""
BUNDLE_RATIO_MAX: Final = 200
"""Unpacked size over archive size; JSON and logs compress about 10 to 40 times."""
MANIFEST_MAX: Final = 1 * MIB
"""manifest.json, as in AICR's verifier."""
STATEMENT_MAX: Final = 10 * MIB
"""statement.intoto.json, a CTRF report or a Sigstore bundle, as in AICR's verifier."""

# --- YAML and JSON documents ---------------------------------------------------------------------------------------
YAML_NODES_MAX: Final = 50_000
"""Nodes of a YAML document (keys, values, collections): the largest real recipe has about 400; 50,000 are read in
less than half a second."""
YAML_DEPTH_MAX: Final = 64
"""Nesting of a YAML document; Helm values in real recipes go to about 12."""
YAML_SCALAR_MAX: Final = 64 * KIB
"""UTF-8 bytes of one scalar; the longest in real recipes are health checks of a few KiB."""
JSON_DEPTH_MAX: Final = 64
"""Nesting of a JSON document where the caller names no limit of its own."""

# --- the Kubernetes API --------------------------------------------------------------------------------------------
API_ANSWER_MAX: Final = 64 * MIB
"""One answer: a chunk of 500 Node objects with long image lists is about 25 MiB."""
API_ERROR_MAX: Final = 64 * KIB
"""A Status object; a message that lists every fault of a big object stays far below."""
CONSTRAINT_MAX: Final = 1024
"""Characters of a constraint's expression; the longest in use has 60."""

# --- signatures and bundles (more) ---------------------------------------------------------------------------------
PUBLIC_KEY_PEM_MAX: Final = 16 * KIB
"""A public key in PEM form; an EC P-256 key has about 180 bytes."""
ATTESTATION_DEPTH: Final = 16
"""Nesting of a Sigstore bundle; a key-signed one needs four levels, a keyless one about eight."""

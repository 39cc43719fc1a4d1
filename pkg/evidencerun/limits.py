# SPDX-License-Identifier: Apache-2.0
"""Every cap on size, count, depth and time, with its unit and its reason.

Whatever is read from outside is bounded by one of these. Sizes are bytes, times are seconds, unless the name says
otherwise.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- YAML and JSON documents -----------------------------------------------------------------------------------------
YAML_NODES_MAX: Final = 50_000
"""Nodes of a YAML document (keys, values, collections): the largest real recipe has about 400; 50,000 are read in
less than half a second."""
RECIPE_COMPONENTS_MAX: Final = 500
"""Components of a recipe; real ones have some forty, and the time for a BOM grows with the square of their number."""
UNKNOWN_FIELDS_MAX: Final = 1000
"""Fields of a recipe that no generation of the format has; a newer one may have a few in each of its components."""
YAML_DEPTH_MAX: Final = 64
"""Nesting of a YAML document; Helm values in real recipes go to about 12."""
YAML_SCALAR_MAX: Final = 64 * KIB
"""UTF-8 bytes of one scalar; the longest in real recipes are health checks of a few KiB."""
JSON_DEPTH_MAX: Final = 64
"""Nesting of a JSON document where the caller names no limit of its own."""
JSON_VALUES_MAX: Final = 4_000_000
"""Members and items of a JSON document of which the caller names no limit; each takes some 60 bytes."""
TEXT_MAX: Final = 4096
"""Characters of one text in a document of ours; as much as the kubelet keeps of a termination message."""
NUMBER_DIGITS_MAX: Final = 400
"""Characters of a number in JSON or YAML: the largest double has 309 digits, and int() takes time by the square."""

# --- recipes and their constraints -----------------------------------------------------------------------------------
INLINE_RECIPE_MAX: Final = 128 * KIB
"""`spec.recipe.inline`: `kubectl apply` keeps a second copy in an annotation, and annotations end at 256 KiB."""
RECIPE_MAX: Final = 1 * MIB
"""A recipe in any form: a ConfigMap cannot hold more, and AICR's verifier reads no more."""
RECIPE_NODES_MAX: Final = 20_000
"""Nodes of a recipe or a catalog, which is printed three times when it is loaded."""
CONSTRAINT_MAX: Final = 1024
"""Characters of a constraint's expression; the longest in use has 60."""

# --- runs ------------------------------------------------------------------------------------------------------------
NODES_MAX: Final = 5000
"""Target nodes of a run: the largest cluster that Kubernetes supports."""
CATALOG_MAX: Final = 128
"""Checks in one policy; AICR's catalog has 24."""
ATTEMPTS_MAX: Final = 10
"""Attempts of one check in one run; each is disclosed in the bundle."""
STATUS_SAMPLE_MAX: Final = 20
"""Names listed in `status.nodes.sample`: status stays small enough for etcd and for people."""

# --- what a probe reads on its node ----------------------------------------------------------------------------------
HOST_FILE_MAX: Final = 256 * KIB
"""One file of /proc or /sys; /proc/modules with 300 modules has 20 KiB."""
HOST_ENTRIES_MAX: Final = 4096
"""Entries of one directory of /sys: PCI functions of the largest machines number about 1,500."""
SYSCTL_MAX: Final = 2000
"""Settings under /proc/sys that are reported; a large server has about 1,100 with its network part."""
SYSCTL_DEPTH_MAX: Final = 6
"""Folders below /proc/sys that are entered; the kernel's own nest four deep."""
REPORT_VALUE_MAX: Final = 4096
"""Characters of one value of a node report; a longer one is left out, never cut."""
NVML_LINE_MAX: Final = 64 * KIB
"""One line that the NVML reader prints: one GPU has about 2 KiB."""
NVML_GPUS_MAX: Final = 256
"""GPUs of one node; 16 are the most that exist."""
VENDOR_LIBRARY_MAX: Final = 64 * MIB
"""Bytes of a vendor's library that are searched for signs of a mock; the real one has about 2 MiB."""
SOURCE_SECONDS: Final = 15.0
"""One source on a node; kernel files take milliseconds, a sick driver hangs for ever."""
NVML_SECONDS: Final = 90.0
"""NVML of a whole node; without persistence mode its start alone takes seconds per GPU."""

# --- node reports ----------------------------------------------------------------------------------------------------
REPORT_GZIP_MAX: Final = 256 * KIB
"""A node report on the wire; a real 8-GPU report is about 17 KiB before compression."""
REPORT_MAX: Final = 4 * MIB
"""A node report inflated; a decompressor stops here, which ends gzip bombs."""
REPORT_JSON_DEPTH: Final = 32
"""Nesting of JSON that nodes and checks send; ours needs eight."""
RUN_REPORTS_MAX: Final = 320 * MIB
"""All node reports of a run, inflated: nodes.json, where they stand indented, must not exceed a bundle's file. Each
node may send its share: 65 KiB of 5,000 nodes, which is four times a real report."""
REPORT_VALUES_MAX: Final = 100_000
"""Members and items of what a node or a check sends: 4,096 PCI functions with seven members are 29,000."""
CONFLICTS_MAX: Final = 8
"""Different reports of one node that are kept beside the first; more are refused."""

# --- bundles ---------------------------------------------------------------------------------------------------------
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
BUNDLE_PATH_MAX: Final = 200
"""Characters of a path in a bundle; ours need about 100, and ustar ends at 255."""
TAR_HEADER_MAX: Final = 1 * KIB
"""One extended header of a bundle's archive; path, owner and three times take about 500 bytes."""
MANIFEST_MAX: Final = 1 * MIB
"""manifest.json, as in AICR's verifier."""
RUN_RECORD_MAX: Final = 64 * MIB
"""run.json; 128 checks with their attempts and measurements and 5,000 stragglers stay below."""
BOM_MAX: Final = 32 * MIB
"""bom.cdx.json; a component takes about 1 KiB, and 2,000 containers may be seen."""
CTRF_TESTS_MAX: Final = 1024
"""Tests of one phase; a catalog holds at most 128 checks, AICR's largest phase has 16."""
CTRF_STDOUT_LINES: Final = 1000
"""Lines of output kept per test, as AICR keeps."""

# --- statements, signatures, keys ------------------------------------------------------------------------------------
STATEMENT_MAX: Final = 10 * MIB
"""statement.intoto.json, a CTRF report or a Sigstore bundle, as in AICR's verifier."""
SUBJECTS_MAX: Final = 16
"""Subjects of a statement; ours has two."""
ATTESTATION_DEPTH: Final = 16
"""Nesting of a Sigstore bundle; a key-signed one needs four levels, a keyless one about eight."""
PUBLIC_KEY_PEM_MAX: Final = 16 * KIB
"""A public key in PEM form; an EC P-256 key has about 180 bytes."""
PRIVATE_KEY_PEM_MAX: Final = 16 * KIB
"""A signing key in PEM form; EC P-256 takes 241 bytes."""
STORE_KEY_MAX: Final = 4 * KIB
"""A public key in PEM: EC P-256 takes 178 bytes."""

# --- snapshots, nodes.json, the fingerprint --------------------------------------------------------------------------
SNAPSHOT_MAX: Final = 32 * MIB
"""A snapshot; one node's is 80 KiB, and 5,000 nodes add their names to each label and each disagreement."""
SNAPSHOT_YAML_NODES_MAX: Final = 100_000
"""Keys, values and collections of a snapshot: real ones have about 5,000; this many are read in about a second."""
SNAPSHOT_SCALAR_MAX: Final = 2 * MIB
"""One scalar of a snapshot: a list of 5,000 node names of 253 characters is 1.3 MB."""
SNAPSHOT_DEPTH_MAX: Final = 24
"""Nesting of a snapshot; its measurements need seven levels, the fingerprint nine."""
SUBTYPES_MAX: Final = 16
"""Subtypes taken from reports, those of most nodes first; ours has nine."""
SUBTYPE_KEYS_MAX: Final = 1500
"""Keys of one merged subtype; /proc/sys gives about 900, and one node must not be able to fill a snapshot."""
SUBTYPE_BYTES_MAX: Final = 1 * MIB
"""Keys and values of one merged subtype; a real OS.sysctl has 30 KiB."""
CONFLICT_VALUES_MAX: Final = 32
"""Values of one key that are listed one by one when nodes disagree; the number of the others is stated."""
CONFLICT_NODES_MAX: Final = 20
"""Node names listed per value of a disagreement; the number of nodes is always exact."""
CONFLICT_ITEMS_MAX: Final = 1000
"""Records of disagreement per subtype before keys are recorded without their values; 20 YAML nodes each."""
NODE_LABELS_MAX: Final = 256
"""Labels of one node that a plan keeps, those that the fingerprint uses first; GPU nodes carry about 150."""
LABEL_KEYS_MAX: Final = 400
"""Labels in a snapshot, those of most nodes first; GPU nodes carry about 150."""
LABEL_VALUES_MAX: Final = 64
"""Values of one label that are listed one by one; zones are few, time stamps are as many as the nodes."""
LABEL_ITEMS_MAX: Final = 2000
"""Records of labels in a snapshot, about 16 YAML nodes each."""
LABEL_NAMES_BYTES_MAX: Final = 4 * MIB
"""Node names listed for all labels together, once per encoding; after that lists are cut, with exact counts."""
NODES_DOCUMENT_MAX: Final = BUNDLE_FILE_MAX
"""nodes.json: 5,000 reports of 17 KiB are about 100 MiB."""
NODE_ENTRY_VALUES_MAX: Final = 110_000
"""Members and items of one node of nodes.json: those of its report, 256 labels and the facts."""
NODES_VALUES_MAX: Final = 10_000_000
"""Members and items of nodes.json: 5,000 nodes with 1,500 readings each are 7.5 million."""
SIGNALS_MAX: Final = 64
"""Different signals kept per dimension of the fingerprint, strongest and most frequent first."""

# --- checks and their results ----------------------------------------------------------------------------------------
CHECK_INPUT_MAX: Final = BUNDLE_FILE_MAX
"""One input of a check; nodes.json of 5,000 nodes has some 250 MiB and goes to disk in pieces."""
NODE_ENTRY_MAX: Final = 4 * REPORT_MAX
"""Characters of one entry of nodes.json, as a check reads it: an indented report is about twice its compact form."""
CHECK_RESOURCES_MAX: Final = 2000
"""Expected resources of one recipe; the largest shipped recipe has some forty components."""
RESULT_FILE_MAX: Final = 8 * MIB
"""One file under /results; larger artefacts belong elsewhere and are referenced by digest."""
RESULT_FILES_MAX: Final = 64
"""Files per attempt."""
RESULT_ENTRIES_MAX: Final = 256
"""Entries of /results that are looked at and, if they stay behind, named."""
RESULTS_TOTAL_MAX: Final = 32 * MIB
"""All files under /results of one attempt, since a bundle holds every attempt's."""
RESERVED_LINE_MAX: Final = 16 * KIB
"""JSON behind a reserved prefix in a check's output; what is longer is ordinary output."""
MEASUREMENTS_MAX: Final = 4096
"""Numbers that one attempt may report; a collective's sweep over 8 GPUs of 100 nodes has about 3,000."""
OBSERVED_IMAGES_MAX: Final = 2000
"""Containers that `expected-resources` lists; a full AICR recipe deploys about 400. A BOM of so many takes seconds."""
OBSERVED_IMAGES_BYTES_MAX: Final = 1 * MIB
"""All texts about them; the BOM repeats an image's name about ten times, and some of it in percent signs."""
TERMINATION_MESSAGE_MAX: Final = 4096
"""What the kubelet keeps of /dev/termination-log."""
CHECK_LOG_MAX: Final = 16 * MIB
"""Log kept per attempt; the rest is dropped, and the cut is disclosed with its byte count."""
LOG_TAIL_MAX: Final = 1 * MIB
"""Of a log longer than `CHECK_LOG_MAX`, this much of its end is kept: there stands why a check was killed."""

# --- the Kubernetes API ----------------------------------------------------------------------------------------------
API_ANSWER_MAX: Final = 64 * MIB
"""One answer: a chunk of 500 Node objects with long image lists is about 25 MiB."""
API_ERROR_MAX: Final = 64 * KIB
"""A Status object; a message that lists every fault of a big object stays far below."""
KUBE_RUNS_MAX: Final = 8 * MIB
"""A run, or all runs of a namespace, as the command line reads them: a run's object has some 20 KiB."""
KUBE_OBJECT_MAX: Final = 4 * MIB
"""One answer of the Kubernetes API: etcd takes no object over 1.5 MiB, lists are chunked."""
KUBE_PAGES_MAX: Final = 20
"""Pages of 250 objects of one list."""

# --- the evidence store ----------------------------------------------------------------------------------------------
PLAN_MAX: Final = 32 * MIB
"""A plan: 5,000 nodes at about 2 KiB each, the recipe in base64, the policy; three times that as a margin."""
STORE_BODY_MAX: Final = 2 * MIB
"""Any other JSON body for the store, and its answers."""
STORE_REASONS_BODY_MAX: Final = 24 * MIB
"""A JSON body with the API's words on each of 5,000 nodes that have not reported, 4,096 bytes each at most."""
STORE_BODIES_MAX: Final = 64
"""Bodies of probes and checks in memory at once: with inflation and parsing about 64 * 8 MiB at the very worst."""
STORE_LARGE_BODIES_MAX: Final = 4
"""Plans and attestations in memory at once."""
STORE_CONNECTIONS_MAX: Final = 2048
"""Open connections, each some 0.3 MB; probes come spread over nodes/50 seconds and hold one for a moment."""
STORE_SEND_SECONDS: Final = 60
"""A quarter of a megabyte of a bundle must have been taken within this time."""
STORE_HEAD_SECONDS: Final = 15
"""TLS handshake and request head must have arrived within this time."""
STORE_BODY_SECONDS: Final = 30
"""A body must have arrived within this time: 32 MiB at 10 Mbit/s."""
STORE_QUEUE_SECONDS: Final = 5
"""A body waits so long for its place in memory, then the caller is told to come back."""
TOKEN_MAX: Final = 16 * KIB
"""A bearer token; projected tokens have one to two KiB."""
IDENTITY_CACHE_SECONDS: Final = 120
"""A reviewed token is believed so long; a deleted pod's token lives this much longer at most."""
IDENTITY_CACHE_MAX: Final = 10_000
"""Reviewed tokens remembered: two pods on each of 5,000 nodes."""
VIEW_MESSAGE_MAX: Final = 512
"""Characters of an attempt's message in the view of a run, so that the view of 128 checks with retries stays small."""
VIEW_RESULTS_MAX: Final = 8
"""Names of result files per attempt in the view of a run."""
RESULTS_WAIT_SECONDS: Final = 45
"""After a check has ended, its sidecar's last upload is awaited so long: the pod's grace period and a margin."""
LOG_WAIT_SECONDS: Final = 20
"""After a pod has ended, the end of its log is awaited so long."""
SEAL_RETRY_SECONDS: Final = 5
"""A bundle that the sealer refused is offered again after this time."""

# --- the store's clients ---------------------------------------------------------------------------------------------
STORE_ANSWER_MAX: Final = 1 * MIB
"""A store's answer that is held in memory; Status objects and acknowledgements have a few hundred bytes."""
RETRY_AFTER_MAX: Final = 300.0
"""Seconds of a Retry-After header that are honoured."""

# --- OCI registries --------------------------------------------------------------------------------------------------
OCI_MANIFEST_MAX: Final = 4 * MIB
"""A manifest or an index: the distribution specification's advice to registries."""
OCI_BLOB_MAX: Final = BUNDLE_ARCHIVE_MAX
"""A blob that is read: a bundle's layer."""
OCI_REFERRERS_MAX: Final = 1000
"""Referrers of one artifact that are read over all pages."""
OCI_CHUNK: Final = 8 * MIB
"""Bytes per request of a blob's upload."""
OCI_ERROR_MAX: Final = 16 * KIB
"""What is read of a refusal's body; its first error is all that is shown."""
OCI_TOKEN_ANSWER_MAX: Final = 64 * KIB
"""A token service's answer."""
REGISTRY_CONFIG_MAX: Final = 1 * MIB
"""A docker configuration; a Secret cannot hold more."""

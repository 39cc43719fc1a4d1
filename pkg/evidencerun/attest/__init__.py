# SPDX-License-Identifier: Apache-2.0
"""Signed statements: in-toto Statement v1, AICR's predicate, DSSE, Sigstore bundles made with a key."""

# SPDX-License-Identifier: Apache-2.0
"""Signers: where a signature over a payload comes from (a key file today)."""

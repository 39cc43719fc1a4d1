# SPDX-License-Identifier: Apache-2.0
"""The checks that come with EvidenceRun, under AICR's container contract."""

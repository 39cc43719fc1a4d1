# SPDX-License-Identifier: Apache-2.0
"""CTRF reports, one per phase: written as AICR writes them, read strictly, counted again by whoever reads them."""

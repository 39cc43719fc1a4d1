# SPDX-License-Identifier: Apache-2.0
"""Judging a bundle offline: everything it claims is derived again, and seven questions are answered in order."""

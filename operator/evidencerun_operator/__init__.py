# SPDX-License-Identifier: Apache-2.0
"""The Kopf operator: a thin shell over pure decisions."""

# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes cluster on one Linux machine, from package registries alone. Standard library only."""

# SPDX-License-Identifier: Apache-2.0
"""What a run is asked to do, what it planned, how its checks ended, and what follows from that."""

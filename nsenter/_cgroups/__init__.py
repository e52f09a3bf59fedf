# SPDX-License-Identifier: Apache-2.0
"""Cgroups of trees of processes: their directories, limits, processes and events."""

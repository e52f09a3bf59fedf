# SPDX-License-Identifier: Apache-2.0
"""The root of a container: its mounts, its devices, and the change into it."""

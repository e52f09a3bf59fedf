# SPDX-License-Identifier: Apache-2.0
"""Which interpreter is started in the namespaces, and how.

It is started from a memory image, or booted from a module archive in memory.
"""

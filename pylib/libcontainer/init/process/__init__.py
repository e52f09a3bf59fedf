# SPDX-License-Identifier: Apache-2.0
"""The process that an init becomes: its ids, capabilities, labels, scheduling and program."""

# SPDX-License-Identifier: Apache-2.0
"""The sub-commands of `python -m nsenter`, one module each.

Each has `add_arguments(parser)` and `execute(args)`, which returns the exit status.
"""

# SPDX-License-Identifier: Apache-2.0
"""One module for each command; its function `execute` runs it and returns the exit status."""

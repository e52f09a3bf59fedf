# SPDX-License-Identifier: Apache-2.0
"""The parts of `nsenter.Sandbox`: limits, workspace, network, and the watch over a run."""

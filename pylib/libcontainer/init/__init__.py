# SPDX-License-Identifier: Apache-2.0
"""The init of a container: what runs inside, from the namespaces made to the program executed.

It boots from memory, in whatever root: nothing but built-in modules, `nsenter._host.syscalls` and
what is in this package is imported, and all at the top of a module, so that it travels in
the bundle.
"""

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bundle: the modules that an interpreter boots from, in one sealed memfd that the parent
 * has made (nsenter/bundle.py writes it). In native byte order:
 *
 *   header      magic, the sizes of the tables, which layout the interpreter's table has
 *   modules     one record each: name, marshalled code, whether it is a package
 *   extensions  the offset of one path each
 *   strings and code, wherever the records point
 */
#ifndef NSX_BUNDLE_H
#define NSX_BUNDLE_H

#include "err.h"

/* Map the bundle, make its modules the interpreter's frozen ones, and load its extension
 * modules while their files can be reached. The descriptor is closed. */
int bundle_install(int fd, struct err *err);

/* Make the modules of a bundle that is mapped already the interpreter's frozen ones. */
int bundle_install_modules(const void *data, size_t size, struct err *err);

#endif

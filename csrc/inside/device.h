/* SPDX-License-Identifier: Apache-2.0 */
/* A minimal /dev. Its devices are binds of the host's, because an ordinary user cannot make device
 * files. */
#ifndef NSX_DEVICE_H
#define NSX_DEVICE_H

#include "base/err.h"

#define DEVICES 6

struct devices {
	int fds[DEVICES];
};

/* Make the binds, which are not mounted anywhere yet. */
int devices_open(struct devices *devices, struct err *err);
/* Fill the empty file system `dev`, which is mounted. The devices are closed. */
int devices_place(const struct devices *devices, int dev, struct err *err);

#endif

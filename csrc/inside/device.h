/* SPDX-License-Identifier: Apache-2.0 */
/* A minimal /dev. Device files are the host's, bound: a user cannot make them. */
#ifndef NSX_DEVICE_H
#define NSX_DEVICE_H

#include "base/err.h"

#define DEVICES 6

struct devices {
	int fds[DEVICES];
};

int devices_open(struct devices *devices, struct err *err);
/* Fill the empty file system `dev`, which is mounted. The devices are closed. */
int devices_place(const struct devices *devices, int dev, struct err *err);

#endif

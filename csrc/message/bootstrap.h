/* SPDX-License-Identifier: Apache-2.0 */
/* The bootstrap message, as runc sends it: which namespaces to join and create, with which ids. */
#ifndef NSX_BOOTSTRAP_H
#define NSX_BOOTSTRAP_H

#include "base/namespaces.h"
#include "message/wire.h"

/* Attribute types, in the numbering of runc's libcontainer/message_linux.go. */
enum {
	CLONE_FLAGS_ATTR = 27281,
	NS_PATHS_ATTR,
	UIDMAP_ATTR,
	GIDMAP_ATTR,
	SETGROUP_ATTR,
	OOM_SCORE_ADJ_ATTR,
	ROOTLESS_EUID_ATTR,
	UIDMAPPATH_ATTR,
	GIDMAPPATH_ATTR,
	TIMENSOFFSET_ATTR,
	BOOTSTRAP_ATTRS_END,
};

#define BOOTSTRAP_ATTR_COUNT (BOOTSTRAP_ATTRS_END - CLONE_FLAGS_ATTR)
/* A message without the texts: each attribute is a header, and a number or a NUL and padding. */
#define BOOTSTRAP_ROOM (WIRE_HEADER_SIZE + BOOTSTRAP_ATTR_COUNT * (WIRE_ATTR_HEADER + 4))

extern const struct wire_message bootstrap_message;
/* The message of runc up to 1.1, whose last attribute means something else: mount sources. */
extern const struct wire_message bootstrap_message_1_1;

/* The spans point into the message. The `data` of a text that was not sent is NULL. */
struct bootstrap {
	uint32_t cloneflags;
	bool setgroup;
	bool says_setgroup; /* the attribute was sent, so that a decoded message can be encoded
			       again */
	bool rootless_euid;
	struct namespace_list join;
	struct span uidmap;
	struct span gidmap;
	struct span uidmap_path;
	struct span gidmap_path;
	struct span oom_score_adj;
	struct span timens_offsets;
	struct span mount_sources; /* runc up to 1.1: paths, some empty, each with a NUL */
};

/* Parse a whole message and check that what it asks for makes sense. */
bool bootstrap_parse(const uint8_t *data, size_t size, struct bootstrap *out,
		     struct wire_error *err);

/* The same for `bootstrap_message_1_1`. */
bool bootstrap_parse_1_1(const uint8_t *data, size_t size, struct bootstrap *out,
			 struct wire_error *err);

/*
 * Write a message with the same bytes as runc, and check it as bootstrap_parse() does.
 *
 * `texts` has the texts of the message in its order, each with a NUL behind it; empty ones are not
 * sent. A negative `setgroup` is not sent. `out` is large enough if `cap` is BOOTSTRAP_ROOM +
 * `len`. `err` may be NULL. Returns the size of the message, or 0 on an error.
 */
uint32_t bootstrap_encode(uint32_t cloneflags, int setgroup, bool rootless_euid, const char *texts,
			  size_t len, uint8_t *out, size_t cap, struct wire_error *err);

#endif

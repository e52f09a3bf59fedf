/* SPDX-License-Identifier: Apache-2.0 */
/* The launch message, which our launcher sends behind the bootstrap message: it has what runc's
 * message has no place for. */
#ifndef NSX_LAUNCH_H
#define NSX_LAUNCH_H

#include "message/launch_fields.h"
#include "message/wire.h"

/* The type of the first attribute; the others follow in the table's order. */
#define LAUNCH_FIRST_ATTR 62101

enum {
#define X(NAME, member, KIND, default, STEP, WAY) LAUNCH_##NAME,
	LAUNCH_FIELDS(X)
#undef X
		LAUNCH_ATTR_COUNT,
};

enum launch_step { LAUNCH_STAGES, LAUNCH_PREPARE, LAUNCH_CONFINE, LAUNCH_FILTER };

extern const struct wire_message launch_message;

#define LAUNCH_MEMBER_TEXT   struct span
#define LAUNCH_MEMBER_BYTES  struct span
#define LAUNCH_MEMBER_FLAG   bool
#define LAUNCH_MEMBER_NUMBER int
#define LAUNCH_MEMBER_ID     int64_t
#define LAUNCH_MEMBER_BITS   uint32_t

struct launch {
#define X(NAME, member, KIND, default, STEP, WAY) LAUNCH_MEMBER_##KIND member;
	LAUNCH_FIELDS(X)
#undef X
	/* The options of a new /proc, with a NUL behind them. They are not sent: stages/nsexec.c
	 * sets them. */
	struct span proc_options;
};

/* Returns the values that hold if our launcher does not send others. */
struct launch launch_defaults(void);
/* Returns whether there is anything for this step to do. */
bool launch_has(const struct launch *launch, enum launch_step step);
/* Returns whether a process that is started like this has to go through the stages. */
bool launch_takes_stages(const struct launch *launch);

bool launch_parse(const uint8_t *data, size_t size, struct launch *out, struct wire_error *err);
/* Take the next number off a list of descriptors; returns false at its end, or if it is
 * malformed. */
bool launch_next_fd(struct span *list, unsigned *fd);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages on the init pipe: a netlink header, then attributes padded to four bytes, in native
 * byte order. Pure functions on a buffer: no system call, no allocation, nothing trusted.
 */
#ifndef NSX_WIRE_H
#define NSX_WIRE_H

#include "base/text.h"

#define WIRE_HEADER_SIZE 16
#define WIRE_ATTR_HEADER 4
#define WIRE_ATTR_MAX	 65535 /* the length field is a u16, its own header included */

enum wire_kind {
	WIRE_U32,
	WIRE_BOOL,
	WIRE_TEXT,  /* bytes with one NUL, at the end */
	WIRE_BYTES, /* any */
};

struct wire_spec {
	const char *name;
	enum wire_kind kind;
};

/* A kind of message: its attribute types are `first_attr`, `first_attr + 1`, … */
struct wire_message {
	uint16_t type;
	uint16_t first_attr;
	uint16_t attr_count;
	const struct wire_spec *attrs;
};

/* Why a message is refused. `attr` 0: the header. `offset` counts from the header's start. */
struct wire_error {
	uint16_t attr;
	uint32_t offset;
	const char *reason;
};

struct wire_attr {
	uint16_t type;
	bool present;
	uint32_t offset;  /* of the attribute's header */
	uint32_t number;  /* WIRE_U32, WIRE_BOOL */
	struct span text; /* WIRE_TEXT, without its NUL; WIRE_BYTES */
};

/* NULL where the type is not one of the message's. */
const struct wire_spec *wire_spec(const struct wire_message *message, uint16_t type);

/* The longest message that can be well formed: every attribute once, each full. */
uint32_t wire_max_size(const struct wire_message *message);

/* Check a header of WIRE_HEADER_SIZE bytes; `*size` is the whole message's. */
bool wire_header(const struct wire_message *message, const uint8_t *header, uint32_t *size,
		 struct wire_error *err);

/* The attribute at `*offset`, which is moved behind it. False at the end of the message and
 * on an error; err->reason tells them apart (NULL at the end). */
bool wire_next(const struct wire_message *message, const uint8_t *data, uint32_t size,
	       uint32_t *offset, struct wire_attr *attr, struct wire_error *err);

/* A whole message, header included: attrs[i] becomes the attribute first_attr + i. */
bool wire_parse(const struct wire_message *message, const uint8_t *data, size_t size,
		struct wire_attr *attrs, struct wire_error *err);

/* Write a message of `count` attributes, in their order. Returns its size, 0 on an error.
 * With `out` NULL nothing is written: the size needed is returned. */
uint32_t wire_encode(const struct wire_message *message, const struct wire_attr *attrs,
		     size_t count, uint8_t *out, size_t cap, struct wire_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages on the init pipe: a netlink header, then attributes that are padded to four bytes, in
 * native byte order. The functions work on a buffer alone: they make no system call, allocate no
 * memory, and check everything that a buffer says.
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
	WIRE_BYTES, /* any bytes */
};

struct wire_spec {
	const char *name;
	enum wire_kind kind;
};

/* A kind of message. Its attributes are of the types `first_attr`, `first_attr + 1`, … */
struct wire_message {
	uint16_t type;
	uint16_t first_attr;
	uint16_t attr_count;
	const struct wire_spec *attrs;
};

/* Why a message is refused. `attr` is 0 for the header; `offset` counts from the header's start. */
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

/* Returns NULL if the message has no attribute of this type. */
const struct wire_spec *wire_spec(const struct wire_message *message, uint16_t type);

/* Returns the size of the longest message that can be well formed: it has every attribute once, and
 * each is full. */
uint32_t wire_max_size(const struct wire_message *message);

/* Check a header of WIRE_HEADER_SIZE bytes; `*size` is then the size of the whole message. */
bool wire_header(const struct wire_message *message, const uint8_t *header, uint32_t *size,
		 struct wire_error *err);

/* Read the attribute at `*offset`, and move that behind it. Returns false at the end of the
 * message, and then err->reason is NULL, and on an error. */
bool wire_next(const struct wire_message *message, const uint8_t *data, uint32_t size,
	       uint32_t *offset, struct wire_attr *attr, struct wire_error *err);

/* Read a whole message with its header: attrs[i] becomes the attribute first_attr + i. */
bool wire_parse(const struct wire_message *message, const uint8_t *data, size_t size,
		struct wire_attr *attrs, struct wire_error *err);

/* Write a message of `count` attributes, in their order. Returns its size, or 0 on an error. If
 * `out` is NULL, nothing is written: the result is the size that is needed. */
uint32_t wire_encode(const struct wire_message *message, const struct wire_attr *attrs,
		     size_t count, uint8_t *out, size_t cap, struct wire_error *err);

#endif

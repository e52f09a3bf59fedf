/* SPDX-License-Identifier: Apache-2.0 */
#include "message/wire.h"

#include <string.h>

#define ALIGN4(n) (((n) + 3U) & ~3U)

/* Where the fields of struct nlmsghdr and struct nlattr are (netlink(7)). They are copied from the
 * buffer, which may not be aligned. */
#define NLMSG_LEN   0
#define NLMSG_TYPE  4
#define NLMSG_FLAGS 6
#define NLA_LEN	    0
#define NLA_TYPE    2

#define NLM_F_REQUEST 1 /* what runc's parent puts there */

static uint16_t get16(const uint8_t *p)
{
	uint16_t n;

	memcpy(&n, p, sizeof(n));
	return n;
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t n;

	memcpy(&n, p, sizeof(n));
	return n;
}

static void put16(uint8_t *p, uint16_t n)
{
	memcpy(p, &n, sizeof(n));
}

static void put32(uint8_t *p, uint32_t n)
{
	memcpy(p, &n, sizeof(n));
}

static bool refuse(struct wire_error *err, uint16_t attr, uint32_t offset, const char *reason)
{
	*err = (struct wire_error){ attr, offset, reason };
	return false;
}

const struct wire_spec *wire_spec(const struct wire_message *message, uint16_t type)
{
	if (type < message->first_attr || type - message->first_attr >= message->attr_count)
		return NULL;
	return &message->attrs[type - message->first_attr];
}

uint32_t wire_max_size(const struct wire_message *message)
{
	return WIRE_HEADER_SIZE + message->attr_count * ALIGN4(WIRE_ATTR_MAX);
}

bool wire_header(const struct wire_message *message, const uint8_t *header, uint32_t *size,
		 struct wire_error *err)
{
	*size = get32(header + NLMSG_LEN);
	if (get16(header + NLMSG_TYPE) != message->type)
		return refuse(err, 0, NLMSG_TYPE, "the message is of another type");
	if (*size < WIRE_HEADER_SIZE)
		return refuse(err, 0, NLMSG_LEN, "nlmsg_len is below the header's own 16 bytes");
	if (*size > wire_max_size(message))
		return refuse(err, 0, NLMSG_LEN, "nlmsg_len is beyond any well-formed message");
	return true;
}

static bool read_number(const uint8_t *payload, uint32_t len, enum wire_kind kind,
			struct wire_attr *attr, struct wire_error *err)
{
	if (len != sizeof(uint32_t))
		return refuse(err, attr->type, attr->offset, "the payload is not four bytes");
	attr->number = get32(payload);
	if (kind == WIRE_BOOL && attr->number > 1)
		return refuse(err, attr->type, attr->offset, "a boolean is neither 0 nor 1");
	return true;
}

static bool read_text(const uint8_t *payload, uint32_t len, struct wire_attr *attr,
		      struct wire_error *err)
{
	const uint8_t *nul = len ? memchr(payload, 0, len) : NULL;

	if (!nul)
		return refuse(err, attr->type, attr->offset, "the text has no NUL at its end");
	if (nul != payload + len - 1)
		return refuse(err, attr->type, attr->offset, "the text has a NUL inside");
	attr->text = (struct span){ (const char *)payload, len - 1 };
	return true;
}

bool wire_next(const struct wire_message *message, const uint8_t *data, uint32_t size,
	       uint32_t *offset, struct wire_attr *attr, struct wire_error *err)
{
	uint32_t at = *offset;
	const struct wire_spec *spec;
	uint32_t len;

	if (at == size)
		return refuse(err, 0, at, NULL);
	*attr = (struct wire_attr){ .present = true, .offset = at };
	if (size - at < WIRE_ATTR_HEADER)
		return refuse(err, 0, at, "bytes trail that are no attribute");
	len = get16(data + at + NLA_LEN);
	attr->type = get16(data + at + NLA_TYPE);
	if (len < WIRE_ATTR_HEADER)
		return refuse(err, attr->type, at, "nla_len is below the header's own 4 bytes");
	if (len > size - at)
		return refuse(err, attr->type, at, "nla_len runs past the end of the message");
	if (ALIGN4(len) > size - at)
		return refuse(err, attr->type, at, "the attribute is not padded to four bytes");
	spec = wire_spec(message, attr->type);
	if (!spec)
		return refuse(err, attr->type, at, "the attribute's type is not known");
	*offset = at + ALIGN4(len);
	data += at + WIRE_ATTR_HEADER;
	len -= WIRE_ATTR_HEADER;
	if (spec->kind == WIRE_TEXT)
		return read_text(data, len, attr, err);
	if (spec->kind == WIRE_BYTES) {
		attr->text = (struct span){ (const char *)data, len };
		return true;
	}
	return read_number(data, len, spec->kind, attr, err);
}

bool wire_parse(const struct wire_message *message, const uint8_t *data, size_t size,
		struct wire_attr *attrs, struct wire_error *err)
{
	uint32_t offset = WIRE_HEADER_SIZE;
	struct wire_attr attr;
	uint32_t stated;

	if (size < WIRE_HEADER_SIZE)
		return refuse(err, 0, (uint32_t)size, "the message ends inside its header");
	if (!wire_header(message, data, &stated, err))
		return false;
	if (stated > size)
		return refuse(err, 0, (uint32_t)size, "the message ends before nlmsg_len says");
	if (stated < size)
		return refuse(err, 0, stated, "bytes follow behind nlmsg_len");
	for (uint16_t i = 0; i < message->attr_count; i++)
		attrs[i] = (struct wire_attr){ .type = (uint16_t)(message->first_attr + i) };
	while (wire_next(message, data, stated, &offset, &attr, err)) {
		struct wire_attr *slot = &attrs[attr.type - message->first_attr];

		if (slot->present)
			return refuse(err, attr.type, attr.offset, "the attribute stands twice");
		*slot = attr;
	}
	return err->reason == NULL;
}

static bool is_number(enum wire_kind kind)
{
	return kind == WIRE_U32 || kind == WIRE_BOOL;
}

static bool payload_size(const struct wire_message *message, const struct wire_attr *attr,
			 uint32_t *size, struct wire_error *err)
{
	const struct wire_spec *spec = wire_spec(message, attr->type);
	size_t nul = spec && spec->kind == WIRE_TEXT;

	if (!spec)
		return refuse(err, attr->type, 0, "the attribute's type is not known");
	if (!is_number(spec->kind) && attr->text.len > WIRE_ATTR_MAX - WIRE_ATTR_HEADER - nul)
		return refuse(err, attr->type, 0,
			      "the text is over 65530 bytes, the most a u16 length takes");
	*size = is_number(spec->kind) ? sizeof(uint32_t) : (uint32_t)(attr->text.len + nul);
	return true;
}

static void put_attr(const struct wire_attr *attr, uint32_t payload, enum wire_kind kind,
		     uint8_t *out)
{
	uint32_t len = WIRE_ATTR_HEADER + payload;

	put16(out + NLA_LEN, (uint16_t)len);
	put16(out + NLA_TYPE, attr->type);
	memset(out + len, 0, ALIGN4(len) - len);
	if (is_number(kind)) {
		put32(out + WIRE_ATTR_HEADER, attr->number);
		return;
	}
	if (attr->text.len)
		memcpy(out + WIRE_ATTR_HEADER, attr->text.data, attr->text.len);
	if (kind == WIRE_TEXT)
		out[len - 1] = '\0';
}

uint32_t wire_encode(const struct wire_message *message, const struct wire_attr *attrs,
		     size_t count, uint8_t *out, size_t cap, struct wire_error *err)
{
	uint32_t size = WIRE_HEADER_SIZE;

	*err = (struct wire_error){ 0 };
	for (size_t i = 0; i < count; i++) {
		uint32_t payload, len;

		if (!payload_size(message, &attrs[i], &payload, err))
			return 0;
		len = ALIGN4(WIRE_ATTR_HEADER + payload);
		if (len > wire_max_size(message) - size)
			return refuse(err, attrs[i].type, size,
				      "the message is beyond any well-formed one");
		if (out && (cap < size || cap - size < len))
			return refuse(err, attrs[i].type, size, "the buffer is too small");
		if (out)
			put_attr(&attrs[i], payload, wire_spec(message, attrs[i].type)->kind,
				 out + size);
		size += len;
	}
	if (!out)
		return size;
	if (cap < WIRE_HEADER_SIZE)
		return refuse(err, 0, 0, "the buffer is too small");
	memset(out, 0, WIRE_HEADER_SIZE);
	put32(out + NLMSG_LEN, size);
	put16(out + NLMSG_TYPE, message->type);
	put16(out + NLMSG_FLAGS, NLM_F_REQUEST);
	return size;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Bounded text: build it into a fixed buffer, read numbers out of it. Never allocates. */
#ifndef NSX_TEXT_H
#define NSX_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that lie in somebody else's buffer, not NUL-terminated. */
struct span {
	const char *data;
	size_t len;
};

/* Text under construction; what does not fit is dropped and `cut` says so. */
struct text {
	char *data;
	size_t cap;
	size_t len;
	bool cut;
};

#define TEXT_IN(array) ((struct text){ .data = (array), .cap = sizeof(array) })

size_t text_length(const char *s);
/* Returns whether `s` begins with `start`. */
bool text_begins(const char *s, const char *start);
/* Returns a string without its NUL. */
struct span span_of(const char *s);
bool span_equals(struct span span, const char *s);
/* Cut the part before `separator` off the front of `rest`; false when nothing is left. */
bool span_next(struct span *rest, char separator, struct span *part);
/* As span_next, but a part counts only when `end` follows it, as a line's does. */
bool span_ended(struct span *rest, char end, struct span *part);

void text_add(struct text *t, const char *s);
void text_add_span(struct text *t, struct span span);
void text_add_number(struct text *t, int64_t n);
/* The inside of a JSON string: quotes, backslashes, controls and non-ASCII escaped. */
void text_add_json(struct text *t, const char *s);
/* NUL-terminate; the last byte is given up for it when the buffer is full. */
const char *text_end(struct text *t);

/* A decimal in its one canonical spelling (no sign, no leading zero), at most `max`. */
bool parse_decimal(struct span digits, uint64_t max, uint64_t *out);

#endif

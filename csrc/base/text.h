/* SPDX-License-Identifier: Apache-2.0 */
/* Text of limited size: how to build it in a buffer, and how to take it apart. Nothing here
 * allocates memory. */
#ifndef NSX_TEXT_H
#define NSX_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A part of somebody else's buffer. No NUL marks its end. */
struct span {
	const char *data;
	size_t len;
};

/* A text that is being built. What does not fit is dropped, and `cut` says so. */
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
/* Cut the part before `separator` off the front of `rest`; returns false if nothing is left. */
bool span_next(struct span *rest, char separator, struct span *part);
/* The same, but a part counts only if `end` follows it, as a newline follows a line. */
bool span_ended(struct span *rest, char end, struct span *part);

void text_add(struct text *t, const char *s);
void text_add_span(struct text *t, struct span span);
void text_add_number(struct text *t, int64_t n);
/* Add what is between the quotes of a JSON string: quotes, backslashes, control characters and
 * bytes above ASCII are escaped. */
void text_add_json(struct text *t, const char *s);
/* Put a NUL behind the text, in place of its last byte if the buffer is full. */
const char *text_end(struct text *t);

/* Read a decimal number of at most `max`, without a sign and without leading zeroes: each number
 * has one spelling. */
bool parse_decimal(struct span digits, uint64_t max, uint64_t *out);

#endif

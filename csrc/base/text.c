/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <string.h>

size_t text_length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

bool text_begins(const char *s, const char *start)
{
	while (*start && *s == *start) {
		s++;
		start++;
	}
	return !*start;
}

struct span span_of(const char *s)
{
	return (struct span){ s, text_length(s) };
}

bool span_equals(struct span span, const char *s)
{
	size_t i;

	for (i = 0; i < span.len; i++)
		if (s[i] == '\0' || s[i] != span.data[i])
			return false;
	return s[i] == '\0';
}

static size_t span_find(struct span span, char c)
{
	const char *found = span.len ? memchr(span.data, c, span.len) : NULL;

	return found ? (size_t)(found - span.data) : span.len;
}

static void span_drop(struct span *span, size_t n)
{
	span->data += n;
	span->len -= n;
}

bool span_next(struct span *rest, char separator, struct span *part)
{
	size_t n;

	if (rest->len == 0)
		return false;
	n = span_find(*rest, separator);
	*part = (struct span){ rest->data, n };
	span_drop(rest, n < rest->len ? n + 1 : n);
	return true;
}

bool span_ended(struct span *rest, char end, struct span *part)
{
	size_t n = span_find(*rest, end);

	if (n == rest->len)
		return false;
	*part = (struct span){ rest->data, n };
	span_drop(rest, n + 1);
	return true;
}

static void text_add_char(struct text *t, char c)
{
	if (t->len < t->cap)
		t->data[t->len++] = c;
	else
		t->cut = true;
}

void text_add(struct text *t, const char *s)
{
	while (*s)
		text_add_char(t, *s++);
}

void text_add_span(struct text *t, struct span span)
{
	for (size_t i = 0; i < span.len; i++)
		text_add_char(t, span.data[i]);
}

void text_add_number(struct text *t, int64_t n)
{
	uint64_t rest = n < 0 ? -(uint64_t)n : (uint64_t)n;
	char digits[20];
	size_t i = sizeof(digits);

	do
		digits[--i] = (char)('0' + rest % 10);
	while ((rest /= 10) != 0);
	if (n < 0)
		text_add_char(t, '-');
	text_add_span(t, (struct span){ digits + i, sizeof(digits) - i });
}

void text_add_json(struct text *t, const char *s)
{
	static const char hex[] = "0123456789abcdef";

	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\') {
			text_add_char(t, '\\');
			text_add_char(t, *s);
		} else if (c >= 0x20 && c < 0x7f) {
			text_add_char(t, *s);
		} else {
			text_add(t, "\\u00");
			text_add_char(t, hex[c >> 4]);
			text_add_char(t, hex[c & 15]);
		}
	}
}

const char *text_end(struct text *t)
{
	if (t->len == t->cap)
		t->len--;
	t->data[t->len] = '\0';
	return t->data;
}

bool parse_decimal(struct span digits, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;

	if (digits.len == 0 || (digits.len > 1 && digits.data[0] == '0'))
		return false;
	for (size_t i = 0; i < digits.len; i++) {
		unsigned d = (unsigned)(digits.data[i] - '0');

		if (d > 9 || n > (UINT64_MAX - d) / 10)
			return false;
		n = n * 10 + d;
	}
	*out = n;
	return n <= max;
}

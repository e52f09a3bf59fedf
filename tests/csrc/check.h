/* The smallest test harness that says what failed where. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);  \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

#define CHECK_TEXT(got, expected)                                                                  \
	do {                                                                                       \
		if (strcmp((got), (expected)) != 0) {                                              \
			fprintf(stderr, "%s:%d: got `%s`, expected `%s`\n", __FILE__, __LINE__,    \
				(got), (expected));                                                \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

/* A copy on the heap without room behind it: reading past its end is an error of ASan's. */
static inline struct span exact(const char *text)
{
	size_t len = strlen(text);
	char *copy = malloc(len ? len : 1);

	if (!copy)
		abort();
	memcpy(copy, text, len);
	return (struct span){ copy, len };
}

#endif

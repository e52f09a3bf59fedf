/* SPDX-License-Identifier: Apache-2.0 */
#include "interpreter/memory_map.h"

#include <string.h>

#include "base/descriptor.h"
#include "interpreter/refusal.h"

#define LIST  "/proc/self/smaps"
#define FLAGS "VmFlags: "

void memory_map_read(char *text, size_t room)
{
	OWNED_FD fd = sys_open(LIST, O_RDONLY);
	size_t size = 0;
	long n = fd;

	while (fd >= 0 && (n = sys_read(fd, text + size, room - 1 - size)) > 0)
		size += (size_t)n;
	if (n < 0 || size == room - 1)
		refuse_image("the memory map cannot be read", LIST);
	text[size] = '\0';
}

static uint64_t read_hex(char **at)
{
	uint64_t value = 0;

	for (;; (*at)++) {
		char c = **at;

		if (c >= '0' && c <= '9')
			value = value << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (uint64_t)(c - 'a' + 10);
		else
			return value;
	}
}

static char *skip_fields(char *at, int count)
{
	while (count--) {
		at += strcspn(at, " ");
		at += strspn(at, " ");
	}
	return at;
}

/* Read the first line of a mapping: "7f00-7f01 r-xp 00000000 08:01 1234   /lib/…". */
static void read_first_line(char *line, struct mapping *m)
{
	char *at = line;

	*m = (struct mapping){ .start = read_hex(&at) };
	at++;
	m->end = read_hex(&at);
	at = skip_fields(at, 1);
	m->readable = at[0] == 'r';
	m->writable = at[1] == 'w';
	m->executable = at[2] == 'x';
	m->shared = at[3] == 's';
	at = skip_fields(at, 1);
	m->offset = read_hex(&at);
	m->name = skip_fields(at, 3);
}

/*
 * Read the flags of a mapping: "rd ex mr mw me". A mapping with a flag that is not understood must
 * not be saved: its memory may mean something that a restored mapping would not have. Known flags
 * are those that a restored mapping has as well, and those that mean nothing to it.
 */
static void read_flags(char *flags, struct mapping *m)
{
	static const char known[] = "rd wr ex mr mw me ac sd nr dd de gd hg nh ms sh ";

	for (; flags[0] && flags[0] != ' '; flags = skip_fields(flags, 1)) {
		const char flag[] = { flags[0], flags[1], ' ', '\0' };

		if (strcmp(flag, "dp ") == 0)
			m->droppable = true;
		else if (strcmp(flag, "wf ") == 0)
			m->is_wiped = true;
		else if (!strstr(known, flag))
			refuse_image("a mapping has a flag that is not understood", flag);
	}
}

/* Cut a line off the text; returns NULL at its end. */
static char *next_line(char **rest)
{
	char *line = *rest;
	char *end = strchr(line, '\n');

	if (!end)
		return NULL;
	*end = '\0';
	*rest = end + 1;
	return line;
}

/* Returns whether a mapping is the process's own, and notes where it is. */
static bool is_own(const struct mapping *m, struct own_memory *own)
{
	const struct image_range range = { m->start, m->end };

	if (strcmp(m->name, "[stack]") == 0)
		own->stack = range;
	else if (strcmp(m->name, "[vdso]") == 0)
		own->vdso = range;
	else
		return strncmp(m->name, "[vvar", 5) == 0 || strcmp(m->name, "[vsyscall]") == 0;
	return true;
}

void memory_map_visit(char *text, struct own_memory *own, mapping_visitor *visit, void *context)
{
	struct mapping m = { .name = "" };
	char *rest = text;
	char *line;

	while ((line = next_line(&rest))) {
		/* A mapping has a first line, lines that begin with a capital letter, and as the
		 * last of them the one with its flags. */
		if (line[0] < 'A' || line[0] > 'Z') {
			read_first_line(line, &m);
		} else if (strncmp(line, FLAGS, strlen(FLAGS)) == 0 && !is_own(&m, own)) {
			read_flags(line + strlen(FLAGS), &m);
			visit(&m, context);
		}
	}
}

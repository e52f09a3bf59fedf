/* SPDX-License-Identifier: Apache-2.0 */
#include "products/installation.h"

#include <sys/stat.h>

#include "base/descriptor.h"
#include "base/text.h"
#include "products/pyrunc_errors.h"

#ifndef NSX_RECORDED
#define NSX_RECORDED "" /* the path of START, if it was known when this was built */
#endif

#define PYTHON "python3"

static const char *join(struct text *t, struct span folder, const char *rest)
{
	text_add_span(t, folder);
	text_add(t, rest);
	return text_end(t);
}

/* Returns the directory of a path, with the slash at its end. */
static struct span directory_of(const char *path)
{
	size_t n = text_length(path);

	while (n > 0 && path[n - 1] != '/')
		n--;
	return (struct span){ path, n };
}

/* Read where this program is, whatever links led to it. */
static void read_own_path(char *buf, size_t size)
{
	long n = SYS4(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", buf, size - 1);

	if (n <= 0 || (size_t)n == size - 1)
		pyrunc_fail("cannot read", "/proc/self/exe: is /proc mounted?");
	buf[n] = '\0';
}

/* Returns whether a file belongs to root, to the owner of this program, or to the user who runs it,
 * and nobody else can write to it. A copy of this program may be in a directory in which anybody
 * can make files. */
static bool is_trusted(const struct stat *file)
{
	struct stat own;

	if (!S_ISREG(file->st_mode) || (file->st_mode & S_IWOTH))
		return false;
	if (file->st_uid == 0 || file->st_uid == (uid_t)SYS0(SYS_geteuid))
		return true;
	return SYS4(SYS_newfstatat, AT_FDCWD, "/proc/self/exe", &own, 0) == 0 &&
	       own.st_uid == file->st_uid;
}

/* Read the first bytes of a START; returns how many, or a negative errno. */
static long read_start(const char *path, char *buf, size_t size)
{
	OWNED_FD fd = sys_open(path, O_RDONLY | O_NONBLOCK);
	struct stat st;
	long ret;

	if (fd < 0)
		return fd;
	ret = SYS2(SYS_fstat, fd, &st);
	if (ret < 0)
		return ret;
	return is_trusted(&st) ? sys_read(fd, buf, size) : -EPERM;
}

/* Drop what a text must begin with; returns false if it does not. */
static bool drop_start(struct span *text, const char *start)
{
	for (; *start; start++, text->data++, text->len--)
		if (text->len == 0 || *text->data != *start)
			return false;
	return true;
}

/* Returns a path that stands in quotes, or before a blank. */
static struct span first_word(struct span line)
{
	struct span word = { NULL, 0 };
	char end = ' ';

	if (line.len && (*line.data == '"' || *line.data == '\'')) {
		end = *line.data++;
		line.len--;
	}
	span_next(&line, end, &word);
	return word;
}

/* Find the interpreter in the first lines. Installers write "#!PYTHON". For a path with a blank, or
 * of more than 127 bytes, some write "#!/bin/sh", and in the next line "'''exec' PYTHON". */
static struct span interpreter_in(struct span text)
{
	static const struct span none = { NULL, 0 };
	struct span line = none;

	if (!span_ended(&text, '\n', &line) || !drop_start(&line, "#!"))
		return none;
	if (!span_equals(line, "/bin/sh"))
		return line;
	if (!span_ended(&text, '\n', &line) || !drop_start(&line, "'''exec' "))
		return none;
	return first_word(line);
}

static _Noreturn void fail_without_start(const char *beside, long why_beside, const char *recorded,
					 long why_recorded)
{
	char buf[4 * PATH_MAX];
	struct text t = TEXT_IN(buf);

	text_add(&t, "pyrunc: cannot find its Python: the file " START
		     ", which is installed beside pyrunc, was looked for at");
	pyrunc_add_tried(&t, beside, why_beside);
	if (*recorded) {
		text_add(&t, " and, as recorded at installation, at");
		pyrunc_add_tried(&t, recorded, why_recorded);
	}
	text_add(&t, "; make a link to the installed pyrunc (ln -s) in place of a copy, "
		     "or install pynsenter again");
	pyrunc_fail_with(&t);
}

/* Set the interpreter to the one that START names or, if it names none, to the one beside START. */
static void set_interpreter(struct installation *found, struct span named)
{
	struct text t = TEXT_IN(found->interpreter);
	struct span path;

	if (named.len == 0 || named.data[0] != '/') {
		join(&t, directory_of(found->start), PYTHON);
		return;
	}
	text_add_span(&t, named);
	/* pip writes a path with a blank as it is; packagers put a blank and an option behind
	 * it. */
	if (!sys_exists(text_end(&t)) && span_next(&named, ' ', &path) && path.len < t.len)
		found->interpreter[path.len] = '\0';
}

void installation_find(struct installation *found)
{
	char own[PATH_MAX];
	char beside[PATH_MAX];
	char head[2 * PATH_MAX];
	struct text t = TEXT_IN(beside);
	struct text start = TEXT_IN(found->start);
	const char *path = beside;
	long n;
	long why;

	read_own_path(own, sizeof(own));
	join(&t, directory_of(own), START);
	n = why = read_start(beside, head, sizeof(head));
	if (n < 0) {
		path = NSX_RECORDED;
		n = *path ? read_start(path, head, sizeof(head)) : -ENOENT;
	}
	if (n < 0)
		fail_without_start(beside, why, path, n);
	text_add(&start, path);
	text_end(&start);
	set_interpreter(found, interpreter_in((struct span){ head, (size_t)n }));
}

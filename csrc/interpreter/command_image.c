/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcontainer/pyrunc/command_image.py makes the image, and has the same rules for its directory
 * and its name. interpreter/restore.c checks that the image is complete, and that it belongs to
 * this boot and to the current files. This file checks the environment, which an interpreter reads
 * when it boots.
 */
#include "interpreter/command_image.h"

#include <elf.h>
#include <limits.h>
#include <unistd.h>

#include "base/exec.h"
#include "interpreter/restore.h"

#define HASH_START  0xcbf29ce484222325ULL /* FNV-1a */
#define HASH_FACTOR 0x100000001b3ULL
/* What stands in front of a reason: whether another image should be made. */
#define REPLACE "1 "
#define KEEP	"0 "
#define FOLDER	"nsenter-image"
#define TRIAL	"_PYRUNC_IMAGE" /* the path of a new image that is being tried */

/* ---- whether an image may be used */

/* Returns whether a variable makes the dynamic loader load other libraries, or changes how
 * malloc(3) works. In an interpreter from an image, it would have no effect. */
static bool changes_libc(const char *variable)
{
	static const char *const names[] = { "LD_PRELOAD=", "LD_AUDIT=", "LD_LIBRARY_PATH=",
					     "GLIBC_TUNABLES=", "MALLOC_" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (text_begins(variable, names[i]))
			return true;
	return false;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool ends_alike(struct span text, const char *with)
{
	size_t length = text_length(with);

	if (text.len < length)
		return false;
	for (size_t i = 0; i < length; i++)
		if (lower(text.data[text.len - length + i]) != with[i])
			return false;
	return true;
}

/* Returns whether Python would use UTF-8, as the image always does. It does so in the C locale, and
 * in locales whose name ends with UTF-8. */
static bool is_in_utf8(char *const *envp)
{
	static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };
	const char *value = NULL;
	struct span locale;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !(value && *value); i++)
		value = environment_get(envp, names[i]);
	if (!value || !*value)
		return true;
	locale = span_of(value);
	return span_equals(locale, "C") || span_equals(locale, "POSIX") ||
	       ends_alike(locale, ".utf-8") || ends_alike(locale, ".utf8");
}

/* Returns NULL if an image may be used. */
static const char *reason_against(const struct image_process *process)
{
	const char *wanted = environment_get(process->envp, "NSENTER_IMAGE");

	if (wanted && span_equals(span_of(wanted), "off"))
		return "NSENTER_IMAGE is off";
	if (image_auxiliary(process->auxv, AT_SECURE))
		return "this program was given rights by its file";
	if (!is_in_utf8(process->envp))
		return "the locale is not one of UTF-8";
	for (char *const *variable = process->envp; *variable; variable++)
		if (changes_libc(*variable))
			return "a variable changes how libraries or memory are used";
	return NULL;
}

/* ---- where it is */

static void add_hex(struct text *t, uint64_t value)
{
	for (int shift = 60; shift >= 0; shift -= 4) {
		const char digit[] = { "0123456789abcdef"[value >> shift & 0xf], '\0' };

		text_add(t, digit);
	}
}

static void add_name(struct text *t, const char *start)
{
	uint64_t hash = HASH_START;

	for (; *start; start++)
		hash = (hash ^ (uint8_t)*start) * HASH_FACTOR;
	text_add(t, "/pyrunc-");
	add_hex(t, hash);
	text_add(t, ".image");
}

/* Returns whether DIRECTORY/FOLDER has the image. In a directory that several users share, the name
 * of the folder ends with the user's number; `user` is -1 if the directory is not shared. */
static bool is_in(const char *directory, int64_t user, const char *start, struct text path)
{
	text_add(&path, directory);
	text_add(&path, "/" FOLDER);
	if (user >= 0) {
		text_add(&path, "-");
		text_add_number(&path, user);
	}
	add_name(&path, start);
	return sys_exists(text_end(&path)) && !path.cut;
}

/* Find the image in the directories that directories() of nsenter/_interpreter/image.py lists;
 * returns false if it is in none of them. */
static bool find(const char *start, char *const *envp, struct text path)
{
	const int64_t user = (int64_t)SYS0(SYS_geteuid);
	const char *runtime = user ? environment_get(envp, "XDG_RUNTIME_DIR") : "/run";

	return (runtime && *runtime && is_in(runtime, -1, start, path)) ||
	       is_in("/dev/shm", user, start, path) || is_in("/tmp", user, start, path);
}

/* Returns whether the image is of this installation: another one's name can have the same hash. */
static bool is_of(const struct image *image, const char *start)
{
	for (uint32_t i = 0; i < image->header->files.count; i++)
		if (span_equals(span_of(image_path(image, &image->files[i])), start))
			return true;
	return false;
}

/* ---- becoming it */

/* Report an error and exit. At this point the command has not changed anything. */
static void fail(const struct err *err)
{
	char buf[ERR_SUBJECT_MAX + 128];
	struct text t = TEXT_IN(buf);

	text_add(&t, "pyrunc: ");
	text_add(&t, err->operation);
	text_add(&t, " ");
	text_add(&t, err->subject);
	text_add(&t, "\n");
	sys_write(STDERR_FILENO, t.data, t.len);
	sys_exit(1);
}

/* An error that may not occur again, such as a lack of memory, does not ask for another image. */
static void add_error(struct text *why, const struct err *err)
{
	text_add(why, err->errnum == ESTALE || err->errnum == ENOENT ? REPLACE : KEEP);
	text_add(why, err->operation);
	text_add(why, " ");
	text_add(why, err->subject);
	text_add(why, ": errno ");
	text_add_number(why, err->errnum);
}

void command_image_resume(const char *start, const struct image_process *process, struct text *why)
{
	static struct image_handover handover = { .fail = fail, .channel_fd = -1, .status_fd = -1 };
	const char *path = environment_get(process->envp, TRIAL);
	const char *reason = reason_against(process);
	char found[PATH_MAX];
	struct image image;
	struct err err;

	if (!reason && !path && find(start, process->envp, TEXT_IN(found)))
		path = found;
	if (reason || !path) {
		text_add(why, reason ? KEEP : REPLACE);
		text_add(why, reason ? reason : "there is none");
		return;
	}
	if (restore_map(path, process, &image, &err) < 0) {
		add_error(why, &err);
		return;
	}
	if (!is_of(&image, start)) {
		text_add(why, KEEP "it is of another installation");
		return;
	}
	handover.process = process;
	handover.is_command = true;
	handover.ignores_interrupt = sys_is_ignored(SIGINT);
	restore_enter(&image, &handover);
}

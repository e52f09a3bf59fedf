/* SPDX-License-Identifier: Apache-2.0 */
#include "base/exec.h"

#include <limits.h>

#include "base/sys.h"
#include "base/text.h"

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

const char *environment_get(char *const *envp, const char *name)
{
	size_t len = text_length(name);

	for (; *envp; envp++) {
		struct span key = { *envp, len };

		if (span_equals(key, name) && (*envp)[len] == '=')
			return *envp + len + 1;
	}
	return NULL;
}

static long execute(struct span directory, const char *name, char *const *argv, char *const *envp)
{
	char buf[PATH_MAX];
	struct text t = TEXT_IN(buf);

	text_add_span(&t, directory);
	text_add(&t, directory.len ? "/" : "./");
	text_add(&t, name);
	return t.cut ? -ENAMETOOLONG : SYS3(SYS_execve, text_end(&t), argv, envp);
}

static bool has_slash(const char *s)
{
	while (*s && *s != '/')
		s++;
	return *s == '/';
}

/* Look as execvp(3) does: a directory without the program is passed over, and EACCES is the result
 * if no other directory has the program. */
static long execute_in_path(const char *path, const char *name, char *const *argv,
			    char *const *envp)
{
	long result = -ENOENT;

	for (;;) {
		struct span directory = { path, 0 };
		long ret;

		while (path[directory.len] && path[directory.len] != ':')
			directory.len++;
		ret = execute(directory, name, argv, envp);
		if (ret == -EACCES)
			result = ret;
		else if (ret != -ENOENT && ret != -ENOTDIR)
			return ret;
		path += directory.len;
		if (*path++ == '\0')
			return result;
	}
}

long exec_program(const char *name, char *const *argv, char *const *envp)
{
	const char *path = environment_get(envp, "PATH");

	if (has_slash(name))
		return SYS3(SYS_execve, name, argv, envp);
	return execute_in_path(path ? path : DEFAULT_PATH, name, argv, envp);
}

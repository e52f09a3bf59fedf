/* SPDX-License-Identifier: Apache-2.0 */
#include "interpreter/stack_limits.h"

#include <dlfcn.h>
#include <elf.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>

#include "interpreter/refusal.h"

#define BOUNDS_SINCE	   0x030eUL	/* of CPython: 3.14 */
#define STACK_OF_ANY_SIZE  (2U << 20)	/* glibc's stack of a thread if there is no limit */
#define STACK_AT_LEAST	   (256U << 10) /* CPython refuses less than some pages */
#define STACK_AT_MOST	   (8U << 20)	/* that is used of a stack without a limit */
#define STACK_NOWHERE	   0x10000000UL
#define THREAD_STATE_BYTES 2048 /* of CPython's thread state, from its start */

/*
 * CPython's bounds of the C stack. PyUnstable_ThreadState_ResetStackProtection() must not be used
 * in the process that resumes the image: it brings back the bounds of the process that the image
 * was made of.
 */
static struct {
	void *(*thread)(void);
	int (*set)(void *thread, void *start, size_t size);
} bounds;

static struct rlimit first_limit; /* of the process that the image was made of */

void stack_limits_find(void)
{
	const unsigned long *version = dlsym(RTLD_DEFAULT, "Py_Version");

	getrlimit(RLIMIT_STACK, &first_limit);
	if (!version || *version >> 16 < BOUNDS_SINCE)
		return;
	*(void **)&bounds.thread = dlsym(RTLD_DEFAULT, "PyThreadState_Get");
	*(void **)&bounds.set = dlsym(RTLD_DEFAULT, "PyUnstable_ThreadState_SetStackProtection");
	if (!bounds.thread || !bounds.set)
		refuse_image("this CPython cannot be told where the stack is", "");
}

void stack_limits_forget(void)
{
	if (bounds.set &&
	    bounds.set(bounds.thread(), (void *)STACK_NOWHERE, STACK_OF_ANY_SIZE) != 0)
		refuse_image("this CPython cannot be told to forget where the stack is", "");
}

bool stack_limits_keeps(uint64_t at)
{
	const uint64_t thread = bounds.thread ? (uintptr_t)bounds.thread() : 0;

	return thread && at >= thread && at < thread + THREAD_STATE_BYTES;
}

void stack_limits_set_thread_size(void)
{
	pthread_attr_t attributes;
	struct rlimit limit;

	if (getrlimit(RLIMIT_STACK, &limit) < 0 || limit.rlim_cur == first_limit.rlim_cur ||
	    pthread_attr_init(&attributes) != 0)
		return;
	if (limit.rlim_cur == RLIM_INFINITY)
		limit.rlim_cur = STACK_OF_ANY_SIZE;
	if (limit.rlim_cur < (rlim_t)PTHREAD_STACK_MIN)
		limit.rlim_cur = PTHREAD_STACK_MIN;
	limit.rlim_cur = (limit.rlim_cur + IMAGE_PAGE - 1) / IMAGE_PAGE * IMAGE_PAGE;
	if (pthread_attr_setstacksize(&attributes, limit.rlim_cur) == 0)
		pthread_setattr_default_np(&attributes);
	pthread_attr_destroy(&attributes);
}

/* The address behind the stack that the kernel has made. The last thing on it is the path that was
 * executed. */
static uintptr_t end_of_stack(const struct image_process *resumed)
{
	const char *path = (const char *)image_auxiliary(resumed->auxv, AT_EXECFN);
	const uintptr_t last = path ? (uintptr_t)path + strlen(path) : (uintptr_t)resumed->argv;

	return (last / IMAGE_PAGE + 1) * IMAGE_PAGE;
}

void stack_limits_learn(const struct image_process *resumed)
{
	const uintptr_t end = end_of_stack(resumed);
	struct rlimit limit;

	if (!bounds.set)
		return;
	if (getrlimit(RLIMIT_STACK, &limit) < 0 || limit.rlim_cur > STACK_AT_MOST)
		limit.rlim_cur = STACK_AT_MOST;
	if (limit.rlim_cur < STACK_AT_LEAST)
		limit.rlim_cur = STACK_AT_LEAST;
	bounds.set(bounds.thread(), (void *)(end - limit.rlim_cur), limit.rlim_cur);
}

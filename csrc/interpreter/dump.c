/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a memory image of an interpreter. Preloaded into a Python that is about to start, it takes
 * the place of main: the interpreter boots from the module archive, imports the given modules, and
 * its memory is written to a file. What resumes the image calls resume(), which is in here too.
 *
 * Libraries are mapped from their own files again, so only their data are saved. No stack is: where
 * a word in what is saved points into the stack or the vdso, it has to be one of a known kind, or
 * no image is made.
 *
 * Without its own variable in the environment it does nothing.
 */
#include <dlfcn.h>
#include <elf.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "interpreter/module_archive.h"
#include "interpreter/image.h"
#include "base/libc.h"

#define VARIABLE	   "_NSENTER_DUMP"
#define TABLES_MAX	   (IMAGE_HEADER_MAX)
#define MAPS_MAX	   (4U << 20)
#define REGIONS_MAX	   8192
#define WORDS_MAX	   4096
#define HOT_ROOM	   512 /* ranges: at least a page of them */
#define ZEROES_LEAST	   16  /* pages: fewer are not worth a mapping of their own */
#define CONFIG_ROOM	   8192
#define THREAD_BYTES	   0x900       /* of glibc's struct pthread, at the thread pointer */
#define THREAD_STATE_BYTES 2048	       /* of CPython, from its start */
#define FRAMES_SIZE	   (16 * 1024) /* of CPython's first _stack_chunk */
#define SIGNALS		   64
#define STACK_OF_ANY_SIZE  (2U << 20) /* glibc's stack of a thread if there is no limit */
#define NO_BREAK	   ((void *)-4096L)
#define STACK_AT_LEAST	   (256U << 10) /* CPython refuses less than some pages */
#define STACK_AT_MOST	   (8U << 20)	/* that is used of a stack without a limit */
#define STACK_NOWHERE	   0x10000000UL

extern char **environ;

/* ---- what is asked for */

/* "BUNDLE,ORDERS,FILES,OUT,MODULE": descriptors, and the module of the bundle that prepares the
 * image, resumes it, and ends. */
struct dump_fds {
	int bundle;
	int orders;
	int files;
	int out;
};

static char boot_module_name[64];

static struct image_process process;
static struct dump_fds fds;

_Noreturn static void give_up(const struct err *err)
{
	dprintf(2, "%s %s: %s\n", err->operation, err->subject, strerror(err->errnum));
	_exit(1);
}

_Noreturn static void refuse(const char *reason, const char *subject)
{
	dprintf(2, "no image can be made: %s%s%s\n", reason, *subject ? ": " : "", subject);
	_exit(1);
}

/* ---- the interpreter, which is found by name: one library serves every version */

/* CPython's PyStatus. */
struct status {
	int type;
	const char *function;
	const char *message;
	int exitcode;
};

static struct {
	void (*init_config)(void *config);
	struct status (*set_argv)(void *config, ssize_t argc, char *const *argv);
	struct status (*boot)(const void *config);
	void (*clear_config)(void *config);
	void *(*import)(const char *name);
	void *(*call)(void *object, const char *method, const char *format, ...);
	void (*print_error)(void);
	int (*error_matches)(void *kind);
	void *(*new_list)(ssize_t size);
	int (*append)(void *list, void *object);
	void *(*new_bytes)(const char *text);
	void (*before_fork)(void);
	void (*after_fork)(void);
	long (*as_long)(void *number);
	int (*add_hook)(int (*hook)(const char *, void *, void *), void *data);
	void **interrupt;
} python;

static const struct {
	const char *name;
	void *place;
} functions[] = {
	{ "PyConfig_InitPythonConfig", &python.init_config },
	{ "PyConfig_SetBytesArgv", &python.set_argv },
	{ "Py_InitializeFromConfig", &python.boot },
	{ "PyConfig_Clear", &python.clear_config },
	{ "PyImport_ImportModule", &python.import },
	{ "PyObject_CallMethod", &python.call },
	{ "PyErr_Print", &python.print_error },
	{ "PyErr_ExceptionMatches", &python.error_matches },
	{ "PyList_New", &python.new_list },
	{ "PyList_Append", &python.append },
	{ "PyBytes_FromString", &python.new_bytes },
	{ "PyOS_BeforeFork", &python.before_fork },
	{ "PyOS_AfterFork_Child", &python.after_fork },
	{ "PyLong_AsLong", &python.as_long },
	{ "PySys_AddAuditHook", &python.add_hook },
	{ "PyExc_KeyboardInterrupt", &python.interrupt },
};

/* CPython keeps the bounds of the C stack since 3.14. They differ in each process that resumes the
 * image. PyUnstable_ThreadState_ResetStackProtection() would bring back those of the process that
 * the image was made of. */
static struct {
	void *(*thread)(void);
	int (*set)(void *thread, void *start, size_t size);
} stack_bounds;

#define STACK_BOUNDS_SINCE 0x030eUL

static void find_stack_bounds(void)
{
	const unsigned long *version = dlsym(RTLD_DEFAULT, "Py_Version");

	if (!version || *version >> 16 < STACK_BOUNDS_SINCE)
		return;
	*(void **)&stack_bounds.thread = dlsym(RTLD_DEFAULT, "PyThreadState_Get");
	*(void **)&stack_bounds.set =
		dlsym(RTLD_DEFAULT, "PyUnstable_ThreadState_SetStackProtection");
	if (!stack_bounds.thread || !stack_bounds.set)
		refuse("this CPython cannot be told where the stack is", "");
}

/* Have the interpreter know nothing of this process's stack. No Python can run from here on. */
static void forget_stack(void)
{
	if (stack_bounds.set &&
	    stack_bounds.set(stack_bounds.thread(), (void *)STACK_NOWHERE, STACK_OF_ANY_SIZE) != 0)
		refuse("this CPython cannot be told to forget where the stack is", "");
}

/* The address behind the stack that the kernel has made. What is last there is the path that was
 * executed. */
static uintptr_t end_of_stack(const struct image_process *resumed)
{
	const char *path = (const char *)image_auxiliary(resumed->auxv, AT_EXECFN);
	const uintptr_t last = path ? (uintptr_t)path + strlen(path) : (uintptr_t)resumed->argv;

	return (last / IMAGE_PAGE + 1) * IMAGE_PAGE;
}

/* Tell the interpreter how far the stack of this process, which resumes the image, can grow. */
static void learn_stack(const struct image_process *resumed)
{
	const uintptr_t end = end_of_stack(resumed);
	struct rlimit limit;

	if (!stack_bounds.set)
		return;
	if (getrlimit(RLIMIT_STACK, &limit) < 0 || limit.rlim_cur > STACK_AT_MOST)
		limit.rlim_cur = STACK_AT_MOST;
	if (limit.rlim_cur < STACK_AT_LEAST)
		limit.rlim_cur = STACK_AT_LEAST;
	stack_bounds.set(stack_bounds.thread(), (void *)(end - limit.rlim_cur), limit.rlim_cur);
}

static void **current_break;

static void find_functions(void)
{
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		*(void **)functions[i].place = dlsym(RTLD_DEFAULT, functions[i].name);
		if (!*(void **)functions[i].place)
			refuse("this is no CPython that is known: it lacks", functions[i].name);
	}
	find_stack_bounds();
	current_break = dlsym(RTLD_DEFAULT, "__curbrk");
	if (!current_break)
		refuse("this is no glibc that is known: it lacks", "__curbrk");
}

static void check(struct status status)
{
	if (status.type)
		refuse("the interpreter does not boot", status.message ? status.message : "");
}

static void *boot_module;

static void boot(void)
{
	static _Alignas(16) uint8_t config[CONFIG_ROOM]; /* a PyConfig has 440 bytes or so */

	python.init_config(config);
	check(python.set_argv(config, process.argc, process.argv));
	check(python.boot(config));
	python.clear_config(config);
	boot_module = python.import(boot_module_name);
	if (!boot_module || !python.call(boot_module, "prepare_image", "i", fds.orders)) {
		python.print_error();
		refuse("what it is to hold cannot be imported", "");
	}
}

/* ---- resuming */

static const struct image_handover *resumed;
static int steps_done;

/* As csrc/products/shim.c: the interpreter says when its code is there and about to be called. */
static int confine_on_event(const char *event, void *args, void *data)
{
	static const char *const events[] = { "nsenter.confine", "nsenter.filter" };
	void (*const steps[])(void) = { resumed->confine, resumed->filter };

	(void)args;
	(void)data;
	if (steps_done == 2 || strcmp(event, events[steps_done]) != 0)
		return 0;
	steps[steps_done++]();
	return 0;
}

/* The main thread has called pthread_exit(3): as libc does for main, the process goes on as long as
 * there is another thread. */
static void end_thread(void *unused)
{
	struct stat st;

	(void)unused;
	if (stat("/proc/self/task", &st) == 0 && st.st_nlink <= 3)
		exit(0);
	for (;;)
		SYS1(SYS_exit, 0);
}

/* End as Py_RunMain() does, but call end_image() of nsenter/_inside/boot.py instead of
 * Py_FinalizeEx(). */
_Noreturn static void end(bool is_interrupt, int status)
{
	if (!python.call(boot_module, "end_image", NULL))
		python.print_error();
	if (is_interrupt) {
		signal(SIGINT, SIG_DFL);
		kill(getpid(), SIGINT);
		status = 128 + SIGINT;
	}
	exit(status);
}

_Noreturn static void end_by_exception(void)
{
	bool is_interrupt = python.error_matches(*python.interrupt);

	python.print_error();
	end(is_interrupt, 1);
}

/* Returns the strings as a Python list of bytes, or NULL. */
static void *list_of(char *const *strings)
{
	void *list = python.new_list(0);

	for (; list && *strings; strings++) {
		void *string = python.new_bytes(*strings);

		if (!string || python.append(list, string) != 0)
			return NULL;
	}
	return list;
}

/* Call the command with its arguments and environment: it has no launcher. */
static void *run_command(const struct image_handover *handover)
{
	void *words, *environment;

	environ = handover->process->envp;
	learn_stack(handover->process);
	python.after_fork();
	words = list_of(handover->process->argv);
	environment = words ? list_of(handover->process->envp) : NULL;
	if (!environment)
		return NULL;
	return python.call(boot_module, "resume_image", "OOi", words, environment,
			   (int)handover->ignores_interrupt);
}

/* Not inlined: its variables would live across the setjmp(3) in pthread_cleanup_push(3). */
__attribute__((noinline)) static void *run_init(const struct image_handover *handover)
{
	static char *no_environment[1];
	const bool is_early = handover->stages != NULL;
	struct err err;

	/* The variables are for libraries that are loaded now. */
	environ = is_early ? handover->process->envp : no_environment;
	if (handover->bundle &&
	    archive_install_mapped(handover->bundle, handover->bundle_size, is_early, &err) < 0)
		handover->fail(&err);
	environ = no_environment;
	if (is_early)
		handover->stages();
	learn_stack(handover->process);
	python.after_fork();
	if (handover->confine && python.add_hook(confine_on_event, NULL) != 0) {
		err_set(&err, "call", "PySys_AddAuditHook", ENOMEM);
		handover->fail(&err);
	}
	return python.call(boot_module, "resume_image", "ii", handover->channel_fd,
			   handover->status_fd);
}

/* Must not be inlined, for the same reason as run_init(). */
__attribute__((noinline)) static void run(const struct image_handover *handover)
{
	void *status = handover->is_command ? run_command(handover) : run_init(handover);

	if (!status)
		end_by_exception();
	end(false, (int)python.as_long(status));
}

static struct rlimit stack_limit; /* of the process that the image was made of */

/* libc has taken the size of threads' stacks from the limit when it started. */
static void set_stack_size(void)
{
	pthread_attr_t attributes;
	struct rlimit limit;

	if (getrlimit(RLIMIT_STACK, &limit) < 0 || limit.rlim_cur == stack_limit.rlim_cur ||
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

/* With end_thread() for the end of main that libc has for pthread_exit(3). Not inlined, as run().
 */
__attribute__((noinline)) static void run_guarded(const struct image_handover *handover)
{
	pthread_cleanup_push(end_thread, NULL);
	run(handover);
	pthread_cleanup_pop(0);
}

static void resume(const struct image_handover *handover)
{
	resumed = handover;
	/* The heap lies where the kernel knows of no break. A break that brk(2) cannot reach has
	 * sbrk(3) fail, and malloc(3) use mmap(2) instead, as it is documented to. */
	*current_break = NO_BREAK;
	set_stack_size();
	run_guarded(handover);
}

/* ---- the memory map */

struct mapping {
	uint64_t start;
	uint64_t end;
	uint64_t offset;
	bool readable, writable, executable, shared;
	bool droppable, wiped;
	const char *name; /* "" for anonymous memory */
};

/* What is written, in memory that is shared and so no part of the image. */
static struct tables {
	char maps[MAPS_MAX];
	struct image_header header;
	struct image_region regions[REGIONS_MAX];
	struct image_file files[IMAGE_FILES_MAX];
	struct image_word words[WORDS_MAX];
	struct image_signal signals[SIGNALS];
	char strings[1 << 20];
	uint32_t strings_size;
	uint64_t pages; /* bytes of contents so far */
	struct {
		uint64_t start;
		uint64_t end;
	} stack, vdso;
	uint8_t compared[1 << 16];
} * t;

static void read_maps(void)
{
	long fd = sys_open("/proc/self/smaps", O_RDONLY);
	size_t size = 0;
	long n;

	if (fd < 0)
		refuse("it cannot be read", "/proc/self/smaps");
	while ((n = sys_read((int)fd, t->maps + size, sizeof(t->maps) - 1 - size)) > 0)
		size += (size_t)n;
	sys_close((int)fd);
	if (n < 0 || size == sizeof(t->maps) - 1)
		refuse("it cannot be read", "/proc/self/smaps");
	t->maps[size] = '\0';
}

static uint64_t hex(char **at)
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

static char *skip(char *at, int fields)
{
	while (fields--) {
		at += strcspn(at, " ");
		at += strspn(at, " ");
	}
	return at;
}

/* "7f00-7f01 r-xp 00000000 08:01 1234   /lib/…" */
static void read_first_line(char *line, struct mapping *m)
{
	char *at = line;

	*m = (struct mapping){ .start = hex(&at) };
	at++;
	m->end = hex(&at);
	at = skip(at, 1);
	m->readable = at[0] == 'r';
	m->writable = at[1] == 'w';
	m->executable = at[2] == 'x';
	m->shared = at[3] == 's';
	at = skip(at, 1);
	m->offset = hex(&at);
	m->name = skip(at, 3);
}

/* Those of proc(5) that a restored mapping has as well, or that mean nothing to it. */
static void read_flags(char *flags, struct mapping *m)
{
	static const char known[] = "rd wr ex mr mw me ac sd nr dd de gd hg nh ms sh ";

	for (; flags[0] && flags[0] != ' '; flags = skip(flags, 1)) {
		char flag[] = { flags[0], flags[1], ' ', '\0' };

		m->droppable |= strcmp(flag, "dp ") == 0;
		m->wiped |= strcmp(flag, "wf ") == 0;
		if (strcmp(flag, "dp ") != 0 && strcmp(flag, "wf ") != 0 && !strstr(known, flag))
			refuse("a mapping has a flag that is not understood", flag);
	}
}

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

static bool is_process_own(const struct mapping *m)
{
	return strcmp(m->name, "[stack]") == 0 || strcmp(m->name, "[vdso]") == 0 ||
	       strncmp(m->name, "[vvar", 5) == 0 || strcmp(m->name, "[vsyscall]") == 0;
}

static void note_process_own(const struct mapping *m)
{
	if (strcmp(m->name, "[stack]") == 0) {
		t->stack.start = m->start;
		t->stack.end = m->end;
	} else if (strcmp(m->name, "[vdso]") == 0) {
		t->vdso.start = m->start;
		t->vdso.end = m->end;
	}
}

/* Call `function` for each mapping but those that are the process's own. */
static void for_each_mapping(void (*function)(const struct mapping *))
{
	struct mapping m = { 0 };
	char *rest = t->maps;
	char *line;

	while ((line = next_line(&rest))) {
		/* The lines of a mapping begin with capitals, but the first; the last has flags. */
		if (line[0] < 'A' || line[0] > 'Z') {
			read_first_line(line, &m);
			continue;
		}
		if (strncmp(line, "VmFlags: ", 9) != 0)
			continue;
		if (m.start == (uintptr_t)t)
			continue;
		note_process_own(&m);
		if (is_process_own(&m))
			continue;
		read_flags(line + 9, &m);
		function(&m);
	}
}

/* ---- regions */

static bool is_zero(const uint8_t *page)
{
	const uint64_t *word = (const void *)page;

	for (size_t i = 0; i < IMAGE_PAGE / sizeof(*word); i++)
		if (word[i])
			return false;
	return true;
}

static int protection(const struct mapping *m)
{
	return (m->readable ? PROT_READ : 0) | (m->writable ? PROT_WRITE : 0) |
	       (m->executable ? PROT_EXEC : 0);
}

static struct image_region *add_region(const struct mapping *m, uint64_t start, uint64_t end,
				       enum region_kind kind)
{
	struct image_region *region = &t->regions[t->header.regions.count];

	if (t->header.regions.count++ == REGIONS_MAX)
		refuse("there are too many mappings", "");
	*region = (struct image_region){
		.start = start,
		.end = end,
		.kind = (uint16_t)kind,
		.prot = (uint16_t)protection(m),
		.flags = m->wiped ? REGION_WIPE_ON_FORK : 0,
	};
	return region;
}

static uint32_t add_string(const char *string)
{
	size_t size = strlen(string) + 1;
	uint32_t at = t->strings_size;

	if (size > sizeof(t->strings) - at)
		refuse("there are too many files", "");
	memcpy(t->strings + at, string, size);
	t->strings_size += (uint32_t)size;
	return at;
}

/* A file's number among those that are mapped. */
static uint32_t add_file(const char *path, const struct stat *st)
{
	struct image_file *file;

	for (uint32_t i = 0; i < t->header.files.count; i++)
		if (t->files[i].is_mapped && strcmp(t->strings + t->files[i].path, path) == 0)
			return i;
	if (t->header.files.count == IMAGE_FILES_MAX)
		refuse("there are too many files", "");
	file = &t->files[t->header.files.count];
	*file = (struct image_file){
		.device = st->st_dev,
		.inode = st->st_ino,
		.size = (uint64_t)st->st_size,
		.changed_s = st->st_ctim.tv_sec,
		.changed_ns = (uint32_t)st->st_ctim.tv_nsec,
		.modified_s = st->st_mtim.tv_sec,
		.modified_ns = (uint32_t)st->st_mtim.tv_nsec,
		.path = add_string(path),
		.is_mapped = 1,
	};
	return t->header.files.count++;
}

/* Whether memory is what the file has there. */
static bool equals_file(const struct mapping *m, int fd, uint64_t file_size)
{
	uint64_t at = m->start;
	uint64_t end = m->end;

	if (m->offset >= file_size)
		return false;
	if (end - at > file_size - m->offset)
		end = at + file_size - m->offset;
	while (at < end) {
		size_t size = end - at < sizeof(t->compared) ? end - at : sizeof(t->compared);
		long n = SYS4(SYS_pread64, fd, t->compared, size, m->offset + (at - m->start));

		if (n != (long)size || memcmp(t->compared, (const void *)at, size) != 0)
			return false;
		at += size;
	}
	return true;
}

/* Add a mapping of a file; returns false if the memory is not what the file has there. */
static bool add_from_file(const struct mapping *m)
{
	struct stat st;
	long fd;
	bool is_equal;

	if (m->name[0] != '/' || m->writable || !m->readable)
		return false;
	fd = sys_open(m->name, O_RDONLY);
	if (fd < 0)
		return false;
	is_equal = fstat((int)fd, &st) == 0 && S_ISREG(st.st_mode) &&
		   equals_file(m, (int)fd, (uint64_t)st.st_size);
	sys_close((int)fd);
	if (is_equal) {
		struct image_region *region = add_region(m, m->start, m->end, REGION_FILE);

		region->offset = m->offset;
		region->file = add_file(m->name, &st);
	}
	return is_equal;
}

static uint64_t count_zeroes(uint64_t at, uint64_t end)
{
	uint64_t count = 0;

	for (; at < end && is_zero((const uint8_t *)at); at += IMAGE_PAGE)
		count++;
	return count;
}

static void add_saved(const struct mapping *m, uint64_t start, uint64_t end)
{
	struct image_region *region;

	if (start == end)
		return;
	region = add_region(m, start, end, REGION_SAVED);
	region->offset = t->pages; /* from the first page of contents on */
	t->pages += end - start;
}

static void add_contents(const struct mapping *m)
{
	uint64_t saved = m->start;
	uint64_t at = m->start;

	while (at < m->end) {
		uint64_t zeroes = count_zeroes(at, m->end);
		uint64_t end = at + zeroes * IMAGE_PAGE;

		if (zeroes >= ZEROES_LEAST || (zeroes && saved == at && end == m->end)) {
			add_saved(m, saved, at);
			add_region(m, at, end, REGION_ZERO);
			saved = end;
		}
		at = zeroes ? end : at + IMAGE_PAGE;
	}
	add_saved(m, saved, m->end);
}

static void add_mapping(const struct mapping *m)
{
	if (m->writable && m->executable)
		refuse("a mapping is writable and executable", m->name);
	if (m->shared)
		refuse("a mapping is shared", m->name);
	if (m->droppable) {
		add_region(m, m->start, m->end, REGION_DROPPABLE)->flags = 0; /* it is both */
		return;
	}
	if (m->wiped || !m->readable) {
		if (m->executable)
			refuse("a mapping is executable and cannot be read", m->name);
		add_region(m, m->start, m->end, REGION_ZERO);
		return;
	}
	if (add_from_file(m))
		return;
	if (m->executable)
		refuse("code is not what its file has", m->name);
	add_contents(m);
}

/* ---- words */

static bool is_between(uint64_t value, uint64_t start, uint64_t end)
{
	return value >= start && value < end;
}

static bool is_saved(uint64_t at)
{
	for (uint32_t i = 0; i < t->header.regions.count; i++)
		if (is_between(at, t->regions[i].start, t->regions[i].end))
			return t->regions[i].kind == REGION_SAVED;
	return false;
}

/*
 * Whether it lies in CPython's stack of frames (struct _stack_chunk), where those of functions that
 * have returned still point to the C stack. At the top level of C every frame there is one of
 * those.
 */
static bool is_in_frames(uint64_t at)
{
	const uint64_t page = at / IMAGE_PAGE * IMAGE_PAGE;

	for (uint64_t chunk = page; page - chunk < FRAMES_SIZE; chunk -= IMAGE_PAGE) {
		const uint64_t *words = (const uint64_t *)chunk; /* previous, size, top */

		if (!is_saved(chunk))
			return false;
		if (words[0] == 0 && words[1] == FRAMES_SIZE && words[2] < FRAMES_SIZE)
			return true;
	}
	return false;
}

/* Whether it lies in CPython's own record of where the stack was at first (c_stack_init_top of
 * _PyThreadStateImpl): without that, learn_stack() has it look again. */
static bool is_in_bounds(uint64_t at)
{
	const uint64_t thread = stack_bounds.thread ? (uintptr_t)stack_bounds.thread() : 0;

	return thread && is_between(at, thread, thread + THREAD_STATE_BYTES);
}

static enum word_kind kind_in_stack(uint64_t at, uint64_t value)
{
	const struct {
		uint64_t value;
		enum word_kind kind;
	} known[] = {
		{ (uintptr_t)process.argv, WORD_ARGV },
		{ (uintptr_t)process.envp, WORD_ENVP },
		{ (uintptr_t)process.auxv, WORD_AUXV },
		{ (uintptr_t)(process.argv - 1), WORD_STACK_END },
		{ getauxval(AT_PLATFORM), WORD_PLATFORM },
		{ getauxval(AT_RANDOM), WORD_RANDOM },
	};
	const char *arg0 = process.argv[0];

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (value == known[i].value)
			return known[i].kind;
	if (is_between(value, (uintptr_t)arg0, (uintptr_t)arg0 + strlen(arg0)))
		return WORD_ARG0; /* program_invocation_short_name points to a part of it */
	/* What is left of the environment's strings, which nobody has any more; and libc's record
	 * of the frame that called main, which resume() makes anew. */
	if (value > (uintptr_t)arg0 || is_in_frames(at) || is_in_bounds(at) ||
	    is_between(at, t->header.fs_base, t->header.fs_base + THREAD_BYTES))
		return WORD_NOTHING;
	return 0;
}

static void add_word(uint64_t at, enum word_kind kind, uint64_t offset)
{
	if (t->header.words.count == WORDS_MAX)
		refuse("too many words point into the stack", "");
	t->words[t->header.words.count++] = (struct image_word){
		.at = at,
		.kind = kind,
		.offset = (uint32_t)offset,
	};
}

static void look_at_word(uint64_t at, uint64_t value)
{
	enum word_kind kind;

	if (is_between(value, t->vdso.start, t->vdso.end)) {
		add_word(at, WORD_VDSO, value - t->vdso.start);
		return;
	}
	if (!is_between(value, t->stack.start, t->stack.end))
		return;
	kind = kind_in_stack(at, value);
	if (!kind) {
		Dl_info info = { 0 };
		char where[256];

		dladdr((const void *)at, &info);
		snprintf(where, sizeof(where), "%#llx at %#llx (%s in %s)",
			 (unsigned long long)value, (unsigned long long)at,
			 info.dli_sname ? info.dli_sname : "no symbol",
			 info.dli_fname ? info.dli_fname : "no library");
		refuse("a word points into the stack, and is not known", where);
	}
	add_word(at, kind, 0);
}

static void find_words(void)
{
	for (uint32_t i = 0; i < t->header.regions.count; i++) {
		const struct image_region *region = &t->regions[i];

		if (region->kind != REGION_SAVED)
			continue;
		for (uint64_t at = region->start; at < region->end; at += sizeof(uint64_t))
			look_at_word(at, *(const uint64_t *)at);
	}
}

/* ---- the thread, the signals, the files */

static void describe_thread(void)
{
	struct image_header *h = &t->header;
	const ptrdiff_t *rseq_offset = dlsym(RTLD_DEFAULT, "__rseq_offset");
	const unsigned *rseq_size = dlsym(RTLD_DEFAULT, "__rseq_size");

#if defined(__x86_64__)
	SYS2(SYS_arch_prctl, 0x1003 /* ARCH_GET_FS */, &h->fs_base);
#else
	refuse("this is not known on this architecture", "");
#endif
	h->tid_address = (uintptr_t)libc_thread_id();
	SYS3(SYS_get_robust_list, 0, &h->robust_list, &h->robust_size);
	if (rseq_offset && rseq_size && *rseq_size) {
		if (*rseq_size > IMAGE_RSEQ_SIZE)
			refuse("the thread's rseq area is larger than is known", "");
		h->rseq = h->fs_base + (uint64_t)*rseq_offset;
		h->rseq_size = IMAGE_RSEQ_SIZE;
	}
	h->resume = (uintptr_t)resume;
}

static void describe_signals(void)
{
	for (int number = 1; number <= SIGNALS; number++) {
		struct image_signal *signal = &t->signals[t->header.signals.count];

		signal->number = (uint64_t)number;
		if (sys_sigaction(number, NULL, &signal->action) == 0 &&
		    signal->action.handler != SIG_DFL)
			t->header.signals.count++;
	}
}

/* Add the source files, which nsenter/_interpreter/image_maker.py looked at before it read them: a
 * count, the records, strings. */
static void add_other_files(void)
{
	struct stat st;
	const uint8_t *data;
	const struct image_file *records;
	uint64_t count;

	if (fstat(fds.files, &st) < 0 || st.st_size < (off_t)sizeof(count))
		refuse("the list of files cannot be read", "");
	data = (const uint8_t *)SYS6(SYS_mmap, 0, st.st_size, PROT_READ, MAP_PRIVATE, fds.files, 0);
	count = *(const uint64_t *)(const void *)data;
	records = (const void *)(data + sizeof(count));
	if (count > IMAGE_FILES_MAX - t->header.files.count ||
	    count * sizeof(*records) > (uint64_t)st.st_size - sizeof(count))
		refuse("there are too many files", "");
	for (uint64_t i = 0; i < count; i++) {
		struct image_file *file = &t->files[t->header.files.count++];

		*file = records[i];
		if (file->path >= st.st_size ||
		    !memchr(data + file->path, '\0', (size_t)st.st_size - file->path))
			refuse("the list of files cannot be read", "");
		file->path = add_string((const char *)data + file->path);
		file->is_mapped = 0;
	}
	SYS2(SYS_munmap, data, st.st_size);
}

/* ---- writing */

static void write_all(const void *data, uint64_t size)
{
	const uint8_t *at = data;

	while (size) {
		long n = sys_write(fds.out, at, size);

		if (n <= 0)
			refuse("it cannot be written", n < 0 ? strerror((int)-n) : "");
		at += n;
		size -= (uint64_t)n;
	}
}

static void place(struct image_table *table, uint64_t record, uint64_t *at)
{
	table->offset = (uint32_t)*at;
	*at += table->count * record;
}

static void lay_out(void)
{
	struct image_header *h = &t->header;
	uint64_t at = sizeof(*h);

	place(&h->regions, sizeof(t->regions[0]), &at);
	place(&h->files, sizeof(t->files[0]), &at);
	place(&h->words, sizeof(t->words[0]), &at);
	place(&h->signals, sizeof(t->signals[0]), &at);
	h->hot.offset = (uint32_t)at;
	at += HOT_ROOM * sizeof(struct image_range);
	for (uint32_t i = 0; i < h->files.count; i++)
		t->files[i].path += (uint32_t)at;
	at += t->strings_size;
	h->header_size = (at + IMAGE_PAGE - 1) / IMAGE_PAGE * IMAGE_PAGE;
	h->file_size = h->header_size + t->pages;
	if (h->header_size > IMAGE_HEADER_MAX)
		refuse("its tables are too large", "");
	for (uint32_t i = 0; i < h->regions.count; i++)
		if (t->regions[i].kind == REGION_SAVED)
			t->regions[i].offset += h->header_size;
}

static void write_image(void)
{
	const struct image_header *h = &t->header;
	static const uint8_t padding[HOT_ROOM * sizeof(struct image_range)];
	const uint64_t hot_room = HOT_ROOM * sizeof(struct image_range);
	uint64_t used = h->hot.offset + hot_room + t->strings_size;

	write_all(h, sizeof(*h));
	write_all(t->regions, h->regions.count * sizeof(t->regions[0]));
	write_all(t->files, h->files.count * sizeof(t->files[0]));
	write_all(t->words, h->words.count * sizeof(t->words[0]));
	write_all(t->signals, h->signals.count * sizeof(t->signals[0]));
	write_all(padding, hot_room); /* nsenter/_interpreter/image_maker.py fills it in */
	write_all(t->strings, t->strings_size);
	write_all(padding, h->header_size - used);
	for (uint32_t i = 0; i < h->regions.count; i++)
		if (t->regions[i].kind == REGION_SAVED)
			write_all((const void *)t->regions[i].start,
				  t->regions[i].end - t->regions[i].start);
}

/* ---- what may not be */

static void check_threads(void)
{
	struct stat st;

	if (stat("/proc/self/task", &st) < 0 || st.st_nlink != 3)
		refuse("it has more than one thread", "");
}

static void check_descriptors(void)
{
	char path[64];
	struct stat st;

	for (int fd = 3; fd < 1024; fd++) {
		if (fd == fds.out || fcntl(fd, F_GETFD) < 0)
			continue;
		snprintf(path, sizeof(path), "descriptor %d", fd);
		if (fstat(fd, &st) == 0)
			refuse("it has a descriptor open", path);
	}
}

static void dump(void)
{
	long shared;

	check_threads();
	getrlimit(RLIMIT_STACK, &stack_limit);
	python.before_fork();
	forget_stack();
	clearenv();
	shared = SYS6(SYS_mmap, 0, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (shared < 0 && shared > -4096)
		refuse("there is no memory for the tables", "");
	t = (struct tables *)shared;
	memcpy(t->header.magic, IMAGE_MAGIC, sizeof(IMAGE_MAGIC));
	t->header.format = IMAGE_FORMAT;
	if (!image_host_is(process.auxv, &t->header.host))
		refuse("it cannot be found out which boot this is", "");
	describe_thread();
	describe_signals();
	add_other_files();
	sys_close(fds.files);
	check_descriptors();
	read_maps();
	for_each_mapping(add_mapping);
	find_words();
	lay_out();
	write_image();
	_exit(0);
}

/* ---- main */

static bool read_fds(const char *value)
{
	return sscanf(value, "%d,%d,%d,%d,%63s", &fds.bundle, &fds.orders, &fds.files, &fds.out,
		      boot_module_name) == 5;
}

/* The caller may ignore or block signals: a background job of a shell ignores SIGINT. */
static void reset_signals(void)
{
	const struct sys_sigaction by_default = { .handler = SIG_DFL };
	const uint64_t no_signals = 0;

	for (int number = 1; number <= SIGNALS; number++)
		sys_sigaction(number, &by_default, NULL);
	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, 0, sizeof(no_signals));
}

static int dump_main(int argc, char **argv, char **envp)
{
	struct err err;

	process = (struct image_process){ argc, argv, envp, image_find_auxv(envp) };
	reset_signals();
	find_functions();
	if (archive_install(fds.bundle, &err) < 0)
		give_up(&err);
	libc_settle();
	boot();
	dump();
	return 1;
}

typedef int main_function(int argc, char **argv, char **envp);
typedef int start_function(main_function *main, int argc, char **argv, void (*init)(void),
			   void (*fini)(void), void (*rtld_fini)(void), void *stack_end);

__attribute__((visibility("default"))) int
__libc_start_main(main_function *main, int argc, char **argv, void (*init)(void),
		  void (*fini)(void), void (*rtld_fini)(void), void *stack_end);

int __libc_start_main(main_function *main, int argc, char **argv, void (*init)(void),
		      void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
	const char *value = getenv(VARIABLE);
	start_function *start;

	*(void **)&start = dlsym(RTLD_NEXT, "__libc_start_main");
	if (value && read_fds(value))
		main = dump_main;
	return start(main, argc, argv, init, fini, rtld_fini, stack_end);
}

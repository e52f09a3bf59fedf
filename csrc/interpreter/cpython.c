/* SPDX-License-Identifier: Apache-2.0 */
#include "interpreter/cpython.h"

#include <dlfcn.h>

#include "interpreter/refusal.h"

/* Room for a PyConfig. It has 412 to 436 bytes in CPython 3.11 to 3.13. Its size is not known
 * here, because that differs between versions; PyConfig_InitPythonConfig() fills in all of it. */
#define CONFIG_ROOM 8192

struct cpython python;

static const struct {
	const char *name;
	void *place;
} functions[] = {
	{ "PyObject_SetArenaAllocator", &python.set_arenas },
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
	{ "PyExc_KeyboardInterrupt", &python.interrupt },
};

void cpython_find(void)
{
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		*(void **)functions[i].place = dlsym(RTLD_DEFAULT, functions[i].name);
		if (!*(void **)functions[i].place)
			refuse_image("this program is no CPython that is known: it lacks",
				     functions[i].name);
	}
}

static void check(struct cpython_status status)
{
	if (status.type)
		refuse_image("the interpreter does not boot", status.message ? status.message : "");
}

void cpython_boot(const struct image_process *process, const char *boot_module, int contents_fd)
{
	static _Alignas(16) uint8_t config[CONFIG_ROOM];

	python.init_config(config);
	check(python.set_argv(config, process->argc, process->argv));
	check(python.boot(config));
	python.clear_config(config);
	python.boot_module = python.import(boot_module);
	if (!python.boot_module ||
	    !python.call(python.boot_module, "prepare_image", "i", contents_fd)) {
		python.print_error();
		refuse_image("a module that the image is to hold cannot be imported", "");
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "interpreter/module_archive.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/descriptor.h"
#include "base/libc.h"

#define ARCHIVE_MAGIC "nsxbndl1"

struct header {
	char magic[8];
	uint32_t modules;
	uint32_t extensions;
	uint32_t version; /* of the Python whose code it is: 0x030b for 3.11 */
	uint32_t late;	  /* how many of the extensions, the last ones, are late */
};

struct module {
	uint32_t name;
	uint32_t code;
	uint32_t code_size;
	uint32_t is_package;
};

/* CPython's struct _frozen, in the two layouts that Include/cpython/import.h has had: in 3.11 and
 * 3.12 with get_code, and later without. */
struct frozen {
	const char *name;
	const unsigned char *code;
	int size;
	int is_package;
};

#define FROZEN_WITHOUT_GET_CODE 0x030dU

struct frozen_with_get_code {
	struct frozen frozen;
	void *(*get_code)(void);
};

struct archive {
	const uint8_t *data;
	size_t size;
	const struct header *header;
	const struct module *modules;
	const uint32_t *extensions;
};

static int refuse(struct err *err, const char *reason)
{
	return err_set(err, "read the module archive:", reason, EBADMSG);
}

static bool is_possible(uint64_t size)
{
	return size >= sizeof(struct header) && size <= UINT32_MAX;
}

/* Map the module archive, and close its descriptor. */
static int archive_map(int archive_fd, struct archive *archive, struct err *err)
{
	OWNED_FD fd = archive_fd;
	struct stat st;
	void *data;

	if (fstat(fd, &st) < 0)
		return err_set(err, "fstat", "the module archive", errno);
	if (!is_possible((uint64_t)st.st_size))
		return refuse(err, "its size is impossible");
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return err_set(err, "mmap", "the module archive", errno);
	*archive = (struct archive){ .data = data, .size = (size_t)st.st_size };
	return 0;
}

static int find_tables(struct archive *archive, struct err *err)
{
	size_t tables;

	archive->header = (const void *)archive->data;
	if (memcmp(archive->header->magic, ARCHIVE_MAGIC, sizeof(archive->header->magic)) != 0)
		return refuse(err, "its magic is another version's");
	tables = sizeof(struct header) + (size_t)archive->header->modules * sizeof(struct module) +
		 (size_t)archive->header->extensions * sizeof(uint32_t);
	if (tables > archive->size)
		return refuse(err, "its tables run past the end");
	archive->modules = (const void *)(archive->header + 1);
	archive->extensions = (const void *)(archive->modules + archive->header->modules);
	return 0;
}

/* Returns a string with its NUL inside the module archive, or NULL. */
static const char *string_at(const struct archive *archive, uint32_t offset)
{
	if (offset >= archive->size ||
	    !memchr(archive->data + offset, '\0', archive->size - offset))
		return NULL;
	return (const char *)archive->data + offset;
}

static bool fill_entry(const struct archive *archive, const struct module *module,
		       struct frozen *entry)
{
	if (module->code > archive->size || module->code_size > archive->size - module->code ||
	    module->code_size > INT32_MAX)
		return false;
	*entry = (struct frozen){
		.name = string_at(archive, module->name),
		.code = archive->data + module->code,
		.size = (int)module->code_size,
		.is_package = module->is_package != 0,
	};
	return entry->name != NULL;
}

/* Check that the code is for this Python. The file at the interpreter's path may be newer than the
 * parent that has made the module archive, and code of another version, or a table of another
 * layout, would crash it. */
static int check_version(const struct archive *archive, struct err *err)
{
	const unsigned long *version = dlsym(RTLD_DEFAULT, "Py_Version");

	if (!version || *version >> 16 != archive->header->version)
		return refuse(err, "it is for another version of Python");
	return 0;
}

static int fill_table(const struct archive *archive, char *table, size_t stride, struct err *err)
{
	for (uint32_t i = 0; i < archive->header->modules; i++)
		if (!fill_entry(archive, &archive->modules[i], (void *)(table + i * stride)))
			return refuse(err, "a module lies outside it");
	return 0;
}

/* The interpreter looks for a module in this table before it looks anywhere else. The table ends
 * with an entry that has no name. It is never freed, because modules are imported from it as long
 * as the process lives. */
static int install_modules(const struct archive *archive, struct err *err)
{
	const struct frozen **frozen_modules = dlsym(RTLD_DEFAULT, "PyImport_FrozenModules");
	size_t stride = archive->header->version < FROZEN_WITHOUT_GET_CODE
				? sizeof(struct frozen_with_get_code)
				: sizeof(struct frozen);
	char *table;

	if (!frozen_modules)
		return err_set(err, "dlsym", "PyImport_FrozenModules: not a CPython?", ENOEXEC);
	if (check_version(archive, err) < 0)
		return -1;
	table = calloc((size_t)archive->header->modules + 1, stride);
	if (!table)
		return err_set(err, "calloc", "the table of frozen modules", ENOMEM);
	if (fill_table(archive, table, stride, err) < 0) {
		free(table);
		return -1;
	}
	*frozen_modules = (const struct frozen *)(void *)table;
	return 0;
}

/* Load an extension module by its absolute path. Under that name, it is found later without a file
 * being opened. */
static int load_extension(const char *path, struct err *err)
{
	const unsigned before = libc_count_threads();

	if (!dlopen(path, RTLD_NOW)) {
		const char *why = dlerror();
		char subject[ERR_SUBJECT_MAX];

		why = why ? why : "";
		/* The text may name a library that is missing, but not the extension. */
		if (strncmp(why, path, strlen(path)) == 0)
			return err_set(err, "dlopen", why, ELIBACC);
		snprintf(subject, sizeof(subject), "%s: %s", path, why);
		return err_set(err, "dlopen", subject, ELIBACC);
	}
	if (libc_count_threads() != before)
		return err_set(err,
			       "dlopen: it starts threads, which cannot go through clone:", path,
			       EINVAL);
	return 0;
}

static int load_extensions(const struct archive *archive, uint32_t from, uint32_t to,
			   struct err *err)
{
	for (uint32_t i = from; i < to; i++) {
		const char *path = string_at(archive, archive->extensions[i]);

		if (!path)
			return refuse(err, "an extension's path lies outside it");
		if (load_extension(path, err) < 0)
			return -1;
	}
	return 0;
}

/* The module archive that was installed. It stays mapped, because the interpreter's modules are in
 * it. */
static struct archive installed;

/* Returns how many extensions can be loaded before Python runs. */
static uint32_t early(const struct header *header)
{
	return header->extensions - header->late;
}

int archive_install(int fd, struct err *err)
{
	if (archive_map(fd, &installed, err) < 0 || find_tables(&installed, err) < 0)
		return -1;
	if (installed.header->late > installed.header->extensions)
		return refuse(err, "it has more late extensions than extensions");
	if (install_modules(&installed, err) < 0)
		return -1;
	return load_extensions(&installed, 0, early(installed.header), err);
}

bool archive_is_late(void)
{
	return installed.header->late > 0;
}

int archive_load_late(struct err *err)
{
	return load_extensions(&installed, early(installed.header), installed.header->extensions,
			       err);
}

int archive_install_mapped(const void *data, size_t size, bool loads, struct err *err)
{
	struct archive archive = { .data = data, .size = size };

	if (!is_possible(size))
		return refuse(err, "its size is impossible");
	if (find_tables(&archive, err) < 0 || install_modules(&archive, err) < 0)
		return -1;
	if (archive.header->late)
		return refuse(err, "it has late extensions, which an image cannot load");
	return loads ? load_extensions(&archive, 0, archive.header->extensions, err) : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "interpreter/dump_words.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

#include "interpreter/refusal.h"
#include "interpreter/stack_limits.h"

#define FRAMES_SIZE  (16 * 1024) /* of CPython's first _stack_chunk */
#define THREAD_BYTES 0x900	 /* of glibc's struct pthread, at the thread pointer */

static bool is_between(uint64_t value, uint64_t start, uint64_t end)
{
	return value >= start && value < end;
}

static bool is_in(uint64_t value, struct image_range range)
{
	return is_between(value, range.start, range.end);
}

static bool is_saved(const struct dump_tables *t, uint64_t at)
{
	for (uint32_t i = 0; i < t->header.regions.count; i++)
		if (is_between(at, t->regions[i].start, t->regions[i].end))
			return t->regions[i].kind == REGION_SAVED;
	return false;
}

/*
 * Returns whether an address lies in CPython's stack of frames (struct _stack_chunk: previous,
 * size, top), where the frames of functions that have returned still point to the C stack. At the
 * top level of C, where an image is made, every frame there is one of those.
 */
static bool is_in_frames(const struct dump_tables *t, uint64_t at)
{
	const uint64_t page = at / IMAGE_PAGE * IMAGE_PAGE;

	for (uint64_t chunk = page; page - chunk < FRAMES_SIZE; chunk -= IMAGE_PAGE) {
		const uint64_t *words = (const uint64_t *)chunk;

		if (!is_saved(t, chunk))
			return false;
		if (words[0] == 0 && words[1] == FRAMES_SIZE && words[2] < FRAMES_SIZE)
			return true;
	}
	return false;
}

/*
 * Returns whether nobody reads a word that points into the stack, so that it can become zero. It
 * points to the strings of the environment, which was cleared; or it is what frames that have
 * returned have left behind; or a record that is made anew: libc's, of the frame that called main,
 * by resume_image(), and CPython's, of the stack, by stack_limits_learn().
 */
static bool is_left_behind(const struct dump_tables *t, uint64_t at, uint64_t value)
{
	const uint64_t thread = t->header.fs_base;

	return value > (uintptr_t)t->process->argv[0] || is_in_frames(t, at) ||
	       stack_limits_keeps(at) || is_between(at, thread, thread + THREAD_BYTES);
}

/* Returns what a word is that points into the stack, or 0 if that is not known. */
static enum word_kind kind_in_stack(const struct dump_tables *t, uint64_t at, uint64_t value)
{
	const struct image_process *process = t->process;
	const struct {
		uint64_t value;
		enum word_kind kind;
	} known[] = {
		{ (uintptr_t)process->argv, WORD_ARGV },
		{ (uintptr_t)process->envp, WORD_ENVP },
		{ (uintptr_t)process->auxv, WORD_AUXV },
		{ (uintptr_t)(process->argv - 1), WORD_STACK_END },
		{ getauxval(AT_PLATFORM), WORD_PLATFORM },
		{ getauxval(AT_RANDOM), WORD_RANDOM },
	};
	const uint64_t arg0 = (uintptr_t)process->argv[0];

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (value == known[i].value)
			return known[i].kind;
	/* program_invocation_short_name points to a part of argv[0]. */
	if (is_between(value, arg0, arg0 + strlen(process->argv[0])))
		return WORD_ARG0;
	return is_left_behind(t, at, value) ? WORD_NOTHING : 0;
}

_Noreturn static void refuse_word(uint64_t at, uint64_t value)
{
	Dl_info info = { 0 };
	char where[256];

	dladdr((const void *)at, &info);
	snprintf(where, sizeof(where), "%#llx at %#llx (%s in %s)", (unsigned long long)value,
		 (unsigned long long)at, info.dli_sname ? info.dli_sname : "no symbol",
		 info.dli_fname ? info.dli_fname : "no library");
	refuse_image("a word points into the stack, and is not known", where);
}

static void look_at_word(struct dump_tables *t, uint64_t at, uint64_t value)
{
	enum word_kind kind;

	if (is_in(value, t->own.vdso)) {
		dump_add_word(t, at, WORD_VDSO, value - t->own.vdso.start);
	} else if (is_in(value, t->own.stack)) {
		kind = kind_in_stack(t, at, value);
		if (!kind)
			refuse_word(at, value);
		dump_add_word(t, at, kind, 0);
	}
}

void dump_add_words(struct dump_tables *t)
{
	for (uint32_t i = 0; i < t->header.regions.count; i++) {
		const struct image_region *region = &t->regions[i];

		if (region->kind != REGION_SAVED)
			continue;
		for (uint64_t at = region->start; at < region->end; at += sizeof(uint64_t))
			look_at_word(t, at, *(const uint64_t *)at);
	}
}

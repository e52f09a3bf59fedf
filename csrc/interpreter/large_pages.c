/* SPDX-License-Identifier: Apache-2.0 */
#include "interpreter/large_pages.h"

#include <unistd.h>

#include "interpreter/cpython.h"
#include "interpreter/refusal.h"

#define ARENA	    (1UL << 20) /* the size of CPython's arenas */
#define ARENAS_MOST 64U		/* a bit for each */
#define STRONG	    false	/* an exchange that fails only if the value has changed */

static struct {
	uint64_t start;
	uint64_t used;	/* one bit for each arena, which several threads may change */
	uint32_t count; /* how many arenas there is memory for */
} arenas;

static uint64_t heap_start;

static uint64_t round_up(uint64_t address)
{
	return (address + IMAGE_LARGE_PAGE - 1) & ~(IMAGE_LARGE_PAGE - 1);
}

/* ---- CPython's arenas */

/* Returns the address of an arena that was not used, or 0 if there is none. */
static uint64_t take_arena(void)
{
	uint64_t used = __atomic_load_n(&arenas.used, __ATOMIC_RELAXED);

	while (~used) {
		const uint32_t number = (uint32_t)__builtin_ctzll(~used);

		if (number >= arenas.count)
			return 0;
		if (__atomic_compare_exchange_n(&arenas.used, &used, used | 1ULL << number, STRONG,
						__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return arenas.start + number * ARENA;
	}
	return 0;
}

/* CPython also takes memory for frames by this function, which has another size. */
static void *allocate(void *unused, size_t size)
{
	const uint64_t arena = size == ARENA ? take_arena() : 0;
	long memory;

	(void)unused;
	if (arena)
		return (void *)arena;
	memory = sys_map_memory(size);
	return sys_is_error(memory) ? NULL : (void *)memory;
}

static void release(void *unused, void *memory, size_t size)
{
	const uint64_t number = ((uint64_t)memory - arenas.start) / ARENA;

	(void)unused;
	if ((uint64_t)memory < arenas.start || number >= arenas.count)
		SYS2(SYS_munmap, memory, size);
	else
		__atomic_fetch_and(&arenas.used, ~(1ULL << number), __ATOMIC_RELEASE);
}

static void prepare_arenas(void)
{
	const struct cpython_arenas allocator = { .allocate = allocate, .release = release };
	const uint64_t size = ARENAS_MOST * ARENA;
	const long memory = SYS6(SYS_mmap, 0, size + IMAGE_LARGE_PAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	const uint64_t start = round_up((uint64_t)memory);

	if (sys_is_error(memory))
		refuse_image("there is no memory for its objects", "");
	if (start > (uint64_t)memory)
		SYS2(SYS_munmap, memory, start - (uint64_t)memory);
	SYS2(SYS_munmap, start + size, (uint64_t)memory + IMAGE_LARGE_PAGE - start);
	arenas.start = start;
	arenas.count = ARENAS_MOST;
	python.set_arenas(&allocator);
}

static struct image_range end_arenas(void)
{
	const uint64_t used = arenas.used;
	const uint64_t count = used ? 64 - (uint64_t)__builtin_clzll(used) : 0;
	const uint64_t end = round_up(arenas.start + count * ARENA);

	for (uint64_t number = 0; number < count; number++)
		if (!(used >> number & 1))
			SYS3(SYS_madvise, arenas.start + number * ARENA, ARENA, MADV_DONTNEED);
	SYS2(SYS_munmap, end, arenas.start + ARENAS_MOST * ARENA - end);
	arenas.count = (uint32_t)((end - arenas.start) / ARENA);
	return (struct image_range){ arenas.start, end };
}

/* ---- malloc's heap */

/* Move the break to where a large page begins: malloc's heap goes on from there. */
static void prepare_heap(void)
{
	const uint64_t now = (uint64_t)sbrk(0);

	heap_start = round_up(now);
	if (sbrk((intptr_t)(heap_start - now)) == (void *)-1)
		refuse_image("there is no memory for its heap", "");
}

/* ---- both */

void large_pages_prepare(void)
{
	prepare_heap();
	prepare_arenas();
}

uint32_t large_pages_end(struct image_range ranges[LARGE_RANGES])
{
	const struct image_range all[LARGE_RANGES] = {
		{ heap_start, round_up((uint64_t)sbrk(0)) },
		end_arenas(),
	};
	uint32_t count = 0;

	for (uint32_t i = 0; i < LARGE_RANGES; i++)
		if (all[i].start < all[i].end)
			ranges[count++] = all[i];
	return count;
}

/* libFuzzer's target: both messages, parsed from a copy without room behind it; what is parsed
 * is encoded and must come out as the same message. */
#include <stdlib.h>
#include <string.h>

#include "bootstrap.h"
#include "launch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The attributes in the message's own order: what encoding them must give back is the message,
 * its header's free fields and its padding aside. */
static void encode_again(const struct wire_message *message, const uint8_t *data, uint32_t size)
{
	struct wire_attr attrs[16];
	struct wire_error err;
	uint32_t offset = WIRE_HEADER_SIZE;
	size_t count = 0;
	uint8_t *out = malloc(size);

	if (!out)
		abort();
	while (wire_next(message, data, size, &offset, &attrs[count], &err))
		count++;
	if (wire_encode(message, attrs, count, out, size, &err) != size)
		abort();
	for (size_t i = 0; i < count; i++) {
		size_t len = attrs[i].text.data ? attrs[i].text.len + 1 : sizeof(uint32_t);

		if (memcmp(out + attrs[i].offset, data + attrs[i].offset, 4 + len) != 0)
			abort();
	}
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bootstrap boot;
	struct launch launch;
	struct wire_error err;
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		abort();
	if (size)
		memcpy(copy, data, size);
	if (bootstrap_parse(copy, size, &boot, &err))
		encode_again(&bootstrap_message, copy, (uint32_t)size);
	else if (!err.reason)
		abort();
	if (launch_parse(copy, size, &launch, &err))
		encode_again(&launch_message, copy, (uint32_t)size);
	else if (!err.reason)
		abort();
	free(copy);
	return 0;
}

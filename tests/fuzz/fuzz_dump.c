// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* fuzz_dump.c - bytes as a capture file: pcap, pcapng, and the link headers in them. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "probe/replay/dump_file.h"
#include "probe/replay/dump_link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A link header by itself: a block of its own, so that ASan sees reads past its end. */
static void read_link(uint32_t link, const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len);
	uint16_t ethertype = 0;
	dump_link_fn read;

	assert(copy || !len);
	if (len)
		memcpy(copy, data, len);
	if (dump_link_find(link, &read) == 0 && read)
		assert(read(copy, len, &ethertype) <= (int)len);
	free(copy);
}

static void read_file(const uint8_t *data, size_t len)
{
	char path[64], error[DUMP_FILE_ERROR_BYTES];
	int fd = memfd_create("fuzz", 0), got = 1;
	struct dump_frame frame;
	struct dump_file *f;

	assert(fd >= 0 && write(fd, data, len) == (ssize_t)len);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (dump_file_open(path, &f, error) == 0) {
		while ((got = dump_file_next(f, &frame)) == 1) {
			assert(frame.len <= DUMP_FILE_FRAME_MAX && frame.time_ns);
			assert(frame.captured <= frame.bytes);
			for (size_t i = 0; i < frame.len; i++)
				(void)*(volatile const uint8_t *)(frame.data + i);
		}
		assert(got == 0 || (got == -EBADMSG && *dump_file_error(f)));
		dump_file_close(f);
	} else {
		assert(*error);
	}
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len > 2)
		read_link((uint32_t)(data[0] | (data[1] & 1) << 8), data + 2, len - 2);
	read_file(data, len);
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/drain/payload_reader.h"

#include <errno.h>
#include <stdlib.h>

#include <bpf/libbpf.h>

#include "bpf/flow_abi.h"
#include "probe/names/names.h"

struct payload_reader {
	struct ring_buffer *ring;
	struct names *names;
};

static int on_sample(void *ctx, void *data, size_t size)
{
	struct payload_reader *r = ctx;

	if (size >= sizeof(struct flow_payload))
		names_consume(r->names, data);
	return 0;
}

int payload_reader_open(int map_fd, struct names *names, struct payload_reader **ret)
{
	struct payload_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->names = names;
	r->ring = ring_buffer__new(map_fd, on_sample, r, NULL);
	if (!r->ring) {
		int err = -errno;

		free(r);
		return err;
	}
	*ret = r;
	return 0;
}

void payload_reader_close(struct payload_reader *r)
{
	if (!r)
		return;
	ring_buffer__free(r->ring);
	free(r);
}

int payload_reader_fd(const struct payload_reader *r)
{
	return ring_buffer__epoll_fd(r->ring);
}

void payload_reader_consume(struct payload_reader *r)
{
	(void)ring_buffer__consume(r->ring); /* only on_sample() could fail */
}

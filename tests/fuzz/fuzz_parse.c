// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_parse.c - the packet parser and the flow update of the BPF programs,
 * compiled natively, on arbitrary bytes. The first byte chooses Ethernet, IPv4
 * or IPv6 as the start; what follows is a stream of packets, each with a length
 * byte, that all land in one entry.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/flow_update.h"
#include "bpf/parse.h"

static enum parse_result parse(const struct parse_input *in, uint8_t start, struct packet *p)
{
	enum parse_result res = PARSE_OK;

	if (start % 3 == 0)
		res = parse_link(in, p);
	else
		p->ethertype = bpf_htons(start % 3 == 1 ? ETH_P_IP : ETH_P_IPV6);
	if (!res)
		res = parse_network(in, p);
	if (!res && parse_has_extensions(p))
		res = parse_extensions(in, p);
	return res ? res : parse_transport(in, p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct flow_entry entry = {0};
	uint64_t packets = 0;
	uint8_t start;

	if (size < 2)
		return 0;
	start = *data++;
	size--;
	while (size > 0) {
		size_t len = *data < size ? *data : size - 1;
		/* A block of its own, so that ASan sees reads past its end; IP headers aligned. */
		size_t shift = start % 3 ? 0 : 2;
		uint8_t *block = malloc(shift + len), *copy = block + shift;
		struct parse_input in = {.start = copy, .end = copy + len, .wire_len = len};
		struct flow_seen seen = {.now_ns = packets * 1000000, .packets = 1, .bytes = len};
		struct packet p = {0};

		assert(block || !(shift + len));
		if (len)
			memcpy(copy, data + 1, len);
		if (parse(&in, start, &p) == PARSE_OK) {
			assert(memcmp(p.key.addr_a, p.key.addr_b, 16) <= 0);
			packets += flow_update(&entry, &p, &seen) == FLOW_COUNTED;
		}
		free(block);
		data += len + 1;
		size -= len + 1;
	}
	assert(entry.half[0].packets + entry.half[1].packets == packets);
	assert(entry.half[0].retrans_pkts + entry.half[1].retrans_pkts <= packets);
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_parse.c - the packet parser and the flow update of the BPF programs,
 * compiled natively, on arbitrary bytes. The first byte chooses Ethernet, IPv4
 * or IPv6 as the start; what follows is a stream of packets, each with a length
 * byte, that all land in one flow. The stages are those of RARE_STAGES in
 * weir.bpf.c.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/flow_update.h"
#include "bpf/parse.h"
#include "bpf/parse_link.h"
#include "bpf/tunnel.h"

static enum parse_result parse_ip(const struct parse_input *in, struct packet *p)
{
	enum parse_result res = parse_network(in, p);

	if (!res && parse_has_extensions(p))
		res = parse_extensions(in, p);
	return res ? res : parse_transport(in, p);
}

static bool open_tunnel(const struct parse_input *in, struct packet *p)
{
	struct packet inner;

	if (!tunnel_possible(p) || !tunnel_open(in, p, &inner))
		return false;
	if (!inner.ethertype && parse_link(in, &inner))
		return false;
	if (parse_has_shim(&inner) && parse_shim(in, &inner))
		return false;
	if (parse_ip(in, &inner))
		return false;
	*p = inner;
	return true;
}

static enum parse_result parse(const struct parse_input *in, uint8_t start, struct packet *p)
{
	enum parse_result res = PARSE_OK;
	struct packet quoted = {0};

	if (start % 3 == 0)
		res = parse_link(in, p);
	else
		p->ethertype = bpf_htons(start % 3 == 1 ? ETH_P_IP : ETH_P_IPV6);
	if (!res && parse_has_shim(p))
		res = parse_shim(in, p);
	if (!res)
		res = parse_ip(in, p);
	for (int i = 0; !res && i < TUNNEL_MAX_LEVELS && open_tunnel(in, p); i++)
		assert(p->key.tunnel);
	if (!res && parse_is_icmp_error(p) && parse_quoted(in, p, &quoted) == PARSE_OK)
		assert(memcmp(quoted.key.addr_a, quoted.key.addr_b, 16) <= 0);
	return res;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct flow_slot slot = {0};
	struct flow_perf perf = {0};
	uint64_t packets = 0;
	uint8_t start;

	if (size < 2)
		return 0;
	start = *data++;
	size--;
	while (size > 0) {
		size_t len = *data < size ? *data : size - 1;
		uint8_t *copy = malloc(len); /* of its own: ASan sees reads past its end */
		struct parse_input in = {.start = copy, .end = copy + len, .wire_len = len};
		struct flow_seen seen = {.now_ns = packets * 1000000,
					 .packets = 1,
					 .bytes = len,
					 .cpu = FLOW_CPU(len & 1)};
		struct packet p = {0};

		assert(copy || !len);
		if (len)
			memcpy(copy, data + 1, len);
		if (parse(&in, start, &p) == PARSE_OK) {
			assert(memcmp(p.key.addr_a, p.key.addr_b, 16) <= 0);
			packets += flow_update(&slot, &perf, &p, &seen) == FLOW_COUNTED;
		}
		free(copy);
		data += len + 1;
		size -= len + 1;
	}
	for (int i = 0; i < 2; i++)
		slot.half[i].packets += perf.lane[i].packets;
	assert(slot.half[0].packets + slot.half[1].packets == packets);
	for (int i = 0; i < 2; i++)
		assert(perf.half[i].retrans_pkts + perf.half[i].ooo_pkts <= slot.half[i].packets);
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/db/ipfix.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/addr.h"
#include "common/array_size.h"
#include "common/clock.h"
#include "proto/flow_columns.h"

#define IPFIX_VERSION	   10
#define IPFIX_HEADER_BYTES 16
#define IPFIX_SET_BYTES	   4 /* head of a set */
#define IPFIX_MAX_BYTES	   65535
#define IPFIX_TEMPLATE_SET 2
#define IPFIX_PEN_REVERSE  29305 /* RFC 5103 */
#define IPFIX_VARIABLE	   65535
#define IPFIX_IFACE_BYTES  (1 + IFACE_NAME_MAX)
#define IPFIX_DATA_MAX	   256 /* of one record */

enum template { TEMPLATE_V4 = 256, TEMPLATE_V6, TEMPLATE_END };

/* Elements by their number at IANA. Their order is that of put_record(). */
static const struct element {
	uint16_t v4, v4_bytes, v6, v6_bytes; /* in the template of either version */
	bool reverse;
} elements[] = {
#define BOTH(id, bytes)                                                                            \
	{                                                                                          \
		id, bytes, id, bytes, false                                                        \
	}
#define REVERSE(id, bytes)                                                                         \
	{                                                                                          \
		id, bytes, id, bytes, true                                                         \
	}
	BOTH(152, 8),		/* flowStartMilliseconds */
	BOTH(153, 8),		/* flowEndMilliseconds */
	{8, 4, 27, 16, false},	/* sourceIPv4Address, sourceIPv6Address */
	{12, 4, 28, 16, false}, /* destinationIPv4Address, destinationIPv6Address */
	BOTH(7, 2),		/* sourceTransportPort */
	BOTH(11, 2),		/* destinationTransportPort */
	BOTH(4, 1),		/* protocolIdentifier */
	BOTH(2, 8),		/* packetDeltaCount */
	BOTH(352, 8),		/* layer2OctetDeltaCount */
	REVERSE(2, 8),		/* and of the other direction */
	REVERSE(352, 8),
	BOTH(86, 8),  /* packetTotalCount */
	BOTH(353, 8), /* layer2OctetTotalCount */
	REVERSE(86, 8),
	REVERSE(353, 8),
	BOTH(6, 2), /* tcpControlBits */
	REVERSE(6, 2),
	{32, 2, 139, 2, false},	  /* icmpTypeCodeIPv4, icmpTypeCodeIPv6 */
	BOTH(58, 2),		  /* vlanId */
	BOTH(136, 1),		  /* flowEndReason */
	BOTH(61, 1),		  /* flowDirection */
	BOTH(239, 1),		  /* biflowDirection: 1, src is the initiator */
	BOTH(148, 8),		  /* flowId */
	BOTH(82, IPFIX_VARIABLE), /* interfaceName */
#undef BOTH
#undef REVERSE
};

struct ipfix {
	FILE *out;
	uint8_t message[IPFIX_MAX_BYTES];
	size_t len;    /* 0: no message is begun */
	size_t set_at; /* of the set that is open; 0: none */
	uint16_t set_id;
	uint32_t domain;
	uint32_t export_s; /* the latest end in the message */
	struct {
		uint32_t domain, records; /* records so far: the message's sequence number */
	} * domains;
	size_t n_domains, current;
};

/* --- bytes ----------------------------------------------------------------------- */

static uint8_t *put_u8(uint8_t *at, uint8_t value)
{
	*at = value;
	return at + 1;
}

static uint8_t *put_u16(uint8_t *at, uint16_t value)
{
	value = htobe16(value);
	memcpy(at, &value, sizeof(value));
	return at + sizeof(value);
}

static uint8_t *put_u32(uint8_t *at, uint32_t value)
{
	value = htobe32(value);
	memcpy(at, &value, sizeof(value));
	return at + sizeof(value);
}

static uint8_t *put_u64(uint8_t *at, uint64_t value)
{
	value = htobe64(value);
	memcpy(at, &value, sizeof(value));
	return at + sizeof(value);
}

static uint8_t *put_bytes(uint8_t *at, const void *data, size_t len)
{
	memcpy(at, data, len);
	return at + len;
}

/* --- messages -------------------------------------------------------------------- */

int ipfix_new(FILE *out, struct ipfix **ret)
{
	struct ipfix *x = calloc(1, sizeof(*x));

	if (!x)
		return -ENOMEM;
	x->out = out;
	*ret = x;
	return 0;
}

void ipfix_free(struct ipfix *x)
{
	if (!x)
		return;
	free(x->domains);
	free(x);
}

static void close_set(struct ipfix *x)
{
	if (x->set_at)
		(void)put_u16(x->message + x->set_at + 2, (uint16_t)(x->len - x->set_at));
	x->set_at = 0;
}

static void open_set(struct ipfix *x, uint16_t id)
{
	x->set_at = x->len;
	x->set_id = id;
	(void)put_u16(x->message + x->len, id);
	x->len += IPFIX_SET_BYTES;
}

static int end_message(struct ipfix *x)
{
	uint8_t *at = x->message;

	if (x->len == 0)
		return 0;
	close_set(x);
	at = put_u16(at, IPFIX_VERSION);
	at = put_u16(at, (uint16_t)x->len);
	at = put_u32(at, x->export_s);
	at += sizeof(uint32_t); /* the sequence number is there */
	(void)put_u32(at, x->domain);
	if (fwrite(x->message, 1, x->len, x->out) != x->len)
		return errno ? -errno : -EIO;
	x->len = 0;
	x->export_s = 0;
	return 0;
}

static void put_template(struct ipfix *x, enum template id)
{
	uint8_t *at = x->message + x->len;
	bool v4 = id == TEMPLATE_V4;

	at = put_u16(at, (uint16_t)id);
	at = put_u16(at, ARRAY_SIZE(elements));
	for (size_t i = 0; i < ARRAY_SIZE(elements); i++) {
		const struct element *e = &elements[i];

		at = put_u16(at, (uint16_t)((v4 ? e->v4 : e->v6) | (e->reverse ? 0x8000 : 0)));
		at = put_u16(at, v4 ? e->v4_bytes : e->v6_bytes);
		if (e->reverse)
			at = put_u32(at, IPFIX_PEN_REVERSE);
	}
	x->len = (size_t)(at - x->message);
}

/* Finds or notes the domain. The first message of a domain begins with the templates. */
static int begin_message(struct ipfix *x, uint32_t domain)
{
	bool known = false;

	for (x->current = 0; x->current < x->n_domains; x->current++) {
		known = x->domains[x->current].domain == domain;
		if (known)
			break;
	}
	if (!known) {
		void *domains = realloc(x->domains, (x->n_domains + 1) * sizeof(*x->domains));

		if (!domains)
			return -ENOMEM;
		x->domains = domains;
		x->domains[x->n_domains].domain = domain;
		x->domains[x->n_domains++].records = 0;
	}
	x->domain = domain;
	x->len = IPFIX_HEADER_BYTES;
	(void)put_u32(x->message + 8, x->domains[x->current].records);
	if (known)
		return 0;
	open_set(x, IPFIX_TEMPLATE_SET);
	for (enum template id = TEMPLATE_V4; id < TEMPLATE_END; id++)
		put_template(x, id);
	close_set(x);
	return 0;
}

/* --- records --------------------------------------------------------------------- */

/* flowEndReason of IPFIX has the numbers of ours, but none for a full table: 5, lack of resources.
 */
static uint8_t *put_record(uint8_t *at, const struct flow_record *r, bool v4)
{
	size_t skip = v4 ? 12 : 0;
	size_t name = strnlen(r->iface, sizeof(r->iface));
	bool echo = flow_is_icmp(r);

	at = put_u64(at, r->start_ns / NS_PER_MS);
	at = put_u64(at, r->end_ns / NS_PER_MS);
	at = put_bytes(at, r->src_addr + skip, 16 - skip);
	at = put_bytes(at, r->dst_addr + skip, 16 - skip);
	at = put_u16(at, r->src_port);
	at = put_u16(at, r->dst_port);
	at = put_u8(at, r->proto);
	at = put_u64(at, r->packets);
	at = put_u64(at, r->bytes);
	at = put_u64(at, r->rev_packets);
	at = put_u64(at, r->rev_bytes);
	at = put_u64(at, r->total_packets);
	at = put_u64(at, r->total_bytes);
	at = put_u64(at, r->rev_total_packets);
	at = put_u64(at, r->rev_total_bytes);
	at = put_u16(at, r->tcp_flags);
	at = put_u16(at, r->rev_tcp_flags);
	at = put_u16(at, echo ? (uint16_t)(r->icmp_type << 8 | r->icmp_code) : 0);
	at = put_u16(at, r->vlan);
	at = put_u8(at, r->end_reason);
	at = put_u8(at, r->direction == FLOW_DIRECTION_EGRESS); /* 0 ingress, 1 egress */
	at = put_u8(at, 1);
	at = put_u64(at, r->flow_id);
	at = put_u8(at, (uint8_t)name);
	return put_bytes(at, r->iface, name);
}

int ipfix_add(struct ipfix *x, uint32_t host_id, const struct flow_record *r)
{
	bool v4 = addr_is_v4(r->src_addr) || flow_is_catch_all(r);
	uint16_t id = v4 ? TEMPLATE_V4 : TEMPLATE_V6;
	uint32_t end_s = (uint32_t)(r->end_ns / NS_PER_SEC);
	int err = 0;

	if (x->len &&
	    (x->domain != host_id || x->len + IPFIX_SET_BYTES + IPFIX_DATA_MAX > IPFIX_MAX_BYTES))
		err = end_message(x);
	if (!err && x->len == 0)
		err = begin_message(x, host_id);
	if (err)
		return err;
	if (x->set_at && x->set_id != id)
		close_set(x);
	if (!x->set_at)
		open_set(x, id);
	x->len = (size_t)(put_record(x->message + x->len, r, v4) - x->message);
	x->domains[x->current].records++;
	if (x->export_s < end_s)
		x->export_s = end_s;
	return 0;
}

int ipfix_finish(struct ipfix *x)
{
	int err = end_message(x);

	if (!err && fflush(x->out))
		err = -errno;
	return err;
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/dump_file.h"

#include <errno.h>
#include <net/ethernet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pcap/pcap.h>

#include "common/clock.h"

/*
 * Reads the link header of len bytes at p. Returns its length and the ethertype
 * of what follows (0: none that we know), or -1 if it is cut.
 */
typedef int (*link_fn)(const uint8_t *p, size_t len, uint16_t *ret_ethertype);

struct dump_file {
	pcap_t *pcap;
	link_fn link; /* NULL: Ethernet */
	uint8_t frame[DUMP_FILE_FRAME_MAX];
};

/* --- links that are not Ethernet -------------------------------------------- */

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static int link_raw(const uint8_t *p, size_t len, uint16_t *ret_ethertype)
{
	if (len < 1)
		return -1;
	*ret_ethertype = p[0] >> 4 == 4 ? ETHERTYPE_IP : p[0] >> 4 == 6 ? ETHERTYPE_IPV6 : 0;
	return 0;
}

/* Linux cooked: packet type, ARPHRD, address of 2 + 8 bytes, protocol. */
static int link_sll(const uint8_t *p, size_t len, uint16_t *ret_ethertype)
{
	if (len < 16)
		return -1;
	*ret_ethertype = be16(p + 14);
	return 16;
}

/* Linux cooked, version 2: protocol first. */
static int link_sll2(const uint8_t *p, size_t len, uint16_t *ret_ethertype)
{
	if (len < 20)
		return -1;
	*ret_ethertype = be16(p);
	return 20;
}

/*
 * BSD loopback: the address family as a 32-bit number in either byte order. 2 is
 * IPv4 everywhere; IPv6 is 24 on NetBSD and OpenBSD, 28 on FreeBSD, 30 on macOS,
 * 10 on Linux.
 */
static int link_null(const uint8_t *p, size_t len, uint16_t *ret_ethertype)
{
	uint8_t family;

	if (len < 4)
		return -1;
	family = p[0] ? p[0] : p[3];
	*ret_ethertype = family == 2 ? ETHERTYPE_IP : 0;
	if (family == 10 || family == 24 || family == 28 || family == 30)
		*ret_ethertype = ETHERTYPE_IPV6;
	return 4;
}

/* PPP (RFC 1661, RFC 1662): address and control may be there; protocol. */
static int link_ppp(const uint8_t *p, size_t len, uint16_t *ret_ethertype)
{
	int at = len >= 2 && p[0] == 0xff && p[1] == 0x03 ? 2 : 0;
	uint16_t proto;

	if (len < (size_t)at + 2)
		return -1;
	proto = be16(p + at);
	*ret_ethertype = proto == 0x0021 ? ETHERTYPE_IP : proto == 0x0057 ? ETHERTYPE_IPV6 : 0;
	return at + 2;
}

static const struct {
	int type;
	link_fn link;
} links[] = {
	{DLT_EN10MB, NULL},	    {DLT_RAW, link_raw},       {DLT_IPV4, link_raw},
	{DLT_IPV6, link_raw},	    {DLT_LINUX_SLL, link_sll}, {DLT_LINUX_SLL2, link_sll2},
	{DLT_NULL, link_null},	    {DLT_LOOP, link_null},     {DLT_PPP, link_ppp},
	{DLT_PPP_SERIAL, link_ppp},
};
#define N_LINKS (sizeof(links) / sizeof(*links))

static int find_link(int type, link_fn *ret)
{
	for (size_t i = 0; i < N_LINKS; i++) {
		if (links[i].type == type) {
			*ret = links[i].link;
			return 0;
		}
	}
	return -EPROTONOSUPPORT;
}

/* --- the file ---------------------------------------------------------------- */

int dump_file_open(const char *path, struct dump_file **ret, char ret_error[DUMP_FILE_ERROR_BYTES])
{
	struct dump_file *f = calloc(1, sizeof(*f));
	char error[PCAP_ERRBUF_SIZE];
	const char *name;
	int type;

	if (!f) {
		snprintf(ret_error, DUMP_FILE_ERROR_BYTES, "out of memory");
		return -ENOMEM;
	}
	f->pcap = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, error);
	if (!f->pcap) {
		snprintf(ret_error, DUMP_FILE_ERROR_BYTES, "%s", error);
		dump_file_close(f);
		return -EBADMSG;
	}
	type = pcap_datalink(f->pcap);
	if (find_link(type, &f->link) != 0) {
		name = pcap_datalink_val_to_description(type);
		snprintf(ret_error, DUMP_FILE_ERROR_BYTES, "link type %d (%s) is not one we read",
			 type, name ? name : "unknown");
		dump_file_close(f);
		return -EPROTONOSUPPORT;
	}
	*ret = f;
	return 0;
}

void dump_file_close(struct dump_file *f)
{
	if (!f)
		return;
	if (f->pcap)
		pcap_close(f->pcap);
	free(f);
}

/* 0 stands for "never" in the datapath. */
static uint64_t time_ns(const struct pcap_pkthdr *h)
{
	uint64_t ns = (uint64_t)h->ts.tv_sec * NS_PER_SEC + (uint64_t)h->ts.tv_usec;

	return ns ? ns : 1;
}

static size_t at_most(size_t n, size_t limit)
{
	return n < limit ? n : limit;
}

/* Puts an Ethernet header in the place of the capture's link header. */
static void replace_link(struct dump_file *f, const uint8_t *data, struct dump_frame *frame)
{
	struct ether_header *eth = (void *)f->frame;
	uint16_t ethertype = 0;
	int skip = f->link(data, frame->captured, &ethertype);
	size_t n;

	frame->data = f->frame;
	if (skip < 0)
		return;
	n = at_most(frame->captured - (size_t)skip, sizeof(f->frame) - sizeof(*eth));
	memset(eth, 0, sizeof(*eth));
	eth->ether_type = htons(ethertype);
	memcpy(f->frame + sizeof(*eth), data + skip, n);
	frame->len = sizeof(*eth) + n;
	frame->frame_len = frame->bytes - (uint32_t)skip + (uint32_t)sizeof(*eth);
}

int dump_file_next(struct dump_file *f, struct dump_frame *ret)
{
	struct dump_frame frame = {0};
	struct pcap_pkthdr *h;
	const uint8_t *data;
	int got = pcap_next_ex(f->pcap, &h, &data);

	if (got == PCAP_ERROR_BREAK) /* the end */
		return 0;
	if (got != 1)
		return -EBADMSG;
	frame.time_ns = time_ns(h);
	frame.bytes = frame.frame_len = h->len;
	frame.captured = (uint32_t)at_most(h->caplen, h->len);
	if (f->link) {
		replace_link(f, data, &frame);
	} else {
		frame.data = data;
		frame.len = at_most(frame.captured, DUMP_FILE_FRAME_MAX);
	}
	*ret = frame;
	return 1;
}

const char *dump_file_error(const struct dump_file *f)
{
	return pcap_geterr(f->pcap);
}

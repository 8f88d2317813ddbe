// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/replay/dump_file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe/replay/dump_link.h"
#include "probe/replay/pcap_reader.h"

struct dump_file {
	struct pcap_reader *reader;
	uint8_t frame[DUMP_FILE_FRAME_MAX];
};

void dump_file_describe_link(uint32_t link, char ret[DUMP_FILE_ERROR_BYTES])
{
	const char *name = dump_link_name(link);

	(void)snprintf(ret, DUMP_FILE_ERROR_BYTES, "link type %u (%s) is not one we read", link,
		       name ? name : "unknown");
}

int dump_file_open(const char *path, struct dump_file **ret, char ret_error[DUMP_FILE_ERROR_BYTES])
{
	struct dump_file *f = calloc(1, sizeof(*f));
	dump_link_fn read;
	int64_t link;
	int err;

	if (!f) {
		(void)snprintf(ret_error, DUMP_FILE_ERROR_BYTES, "out of memory");
		return -ENOMEM;
	}
	err = pcap_reader_open(path, &f->reader, &link);
	if (err) {
		(void)snprintf(ret_error, DUMP_FILE_ERROR_BYTES, "%s",
			       pcap_reader_error(f->reader));
	} else if (link >= 0 && dump_link_find((uint32_t)link, &read) != 0) {
		err = -EPROTONOSUPPORT;
		dump_file_describe_link((uint32_t)link, ret_error);
	}
	if (err) {
		dump_file_close(f);
		return err;
	}
	*ret = f;
	return 0;
}

void dump_file_close(struct dump_file *f)
{
	if (!f)
		return;
	pcap_reader_close(f->reader);
	free(f);
}

static size_t at_most(size_t n, size_t limit)
{
	return n < limit ? n : limit;
}

/* Puts an Ethernet header in the place of the capture's link header. */
static void replace_link(struct dump_file *f, dump_link_fn read, const struct pcap_packet *p,
			 struct dump_frame *frame)
{
	struct ether_header *eth = (void *)f->frame;
	uint16_t ethertype = DUMP_LINK_UNKNOWN;
	int skip = read(p->data, p->len, &ethertype);
	size_t head, n;

	frame->data = f->frame;
	if (skip < 0 || (size_t)skip > p->len)
		return;
	head = ethertype == DUMP_LINK_ETHERNET ? 0 : sizeof(*eth);
	n = at_most(p->len - (size_t)skip, sizeof(f->frame) - head);
	memset(eth, 0, sizeof(*eth));
	eth->ether_type = htons(ethertype);
	memcpy(f->frame + head, p->data + skip, n);
	frame->len = head + n;
	frame->frame_len = frame->bytes > (uint32_t)skip ? frame->bytes - (uint32_t)skip : 0;
	frame->frame_len += (uint32_t)head;
}

int dump_file_next(struct dump_file *f, struct dump_frame *ret)
{
	struct dump_frame frame = {0};
	struct pcap_packet p;
	dump_link_fn read;
	int got = pcap_reader_next(f->reader, &p);

	if (got != 1)
		return got;
	frame.time_ns = p.time_ns ? p.time_ns : 1; /* 0 stands for "never" in the datapath */
	frame.link = p.link;
	frame.bytes = frame.frame_len = p.bytes;
	frame.captured = (uint32_t)at_most(p.captured, p.bytes);
	p.len = at_most(p.len, p.bytes);
	if (dump_link_find(p.link, &read) != 0) {
		frame.unread = true;
	} else if (read) {
		replace_link(f, read, &p, &frame);
	} else {
		frame.data = p.data;
		frame.len = at_most(p.len, DUMP_FILE_FRAME_MAX);
	}
	*ret = frame;
	return 1;
}

const char *dump_file_error(const struct dump_file *f)
{
	return pcap_reader_error(f->reader);
}

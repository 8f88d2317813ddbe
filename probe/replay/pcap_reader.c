// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/replay/pcap_reader.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "common/clock.h"

#define GZIP_BUFFER_BYTES (1u << 17)

/* Magic numbers, as the writer's byte order has them. */
#define PCAP_US	       0xa1b2c3d4u
#define PCAP_NS	       0xa1b23c4du
#define PCAP_PATCHED   0xa1b2cd34u /* 8 more bytes in each packet's header */
#define PCAPNG_ORDER   0x1a2b3c4du
#define PCAP_LINK_MASK 0xffffu /* above it: about the frame check sequence */

enum pcapng_block {
	BLOCK_INTERFACE = 1,
	BLOCK_OBSOLETE_PACKET = 2,
	BLOCK_SIMPLE_PACKET = 3,
	BLOCK_ENHANCED_PACKET = 6,
	BLOCK_SECTION = 0x0a0d0d0a, /* the same in either byte order */
};

enum pcapng_option { OPTION_END = 0, OPTION_RESOLUTION = 9, OPTION_OFFSET = 14 };

#define BLOCK_MIN     12   /* type, length, and the length again */
#define RESOLUTION_US 6	   /* 10^-6 s */
#define BINARY	      0x80 /* of a resolution: negative power of 2, not of 10 */

struct interface {
	uint32_t link;
	uint32_t snap_len; /* 0: no limit */
	uint8_t resolution;
	int64_t offset_s;
};

struct pcap_reader {
	gzFile file;
	bool swapped; /* the writer had the other byte order */
	bool ng;
	uint64_t last_ns;
	const char *error;

	/* pcap */
	struct interface only;
	size_t packet_head;

	/* pcapng */
	struct interface *ifaces;
	size_t n_ifaces, room;

	uint8_t data[PCAP_READER_DATA_MAX];
};

static int bad(struct pcap_reader *r, const char *why)
{
	r->error = why;
	return -EBADMSG;
}

static uint32_t get32(const struct pcap_reader *r, const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return r->swapped ? __builtin_bswap32(v) : v;
}

static uint16_t get16(const struct pcap_reader *r, const uint8_t *at)
{
	uint16_t v;

	memcpy(&v, at, sizeof(v));
	return r->swapped ? __builtin_bswap16(v) : v;
}

static uint64_t get64(const struct pcap_reader *r, const uint8_t *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof(v));
	return r->swapped ? __builtin_bswap64(v) : v;
}

/* --- bytes -------------------------------------------------------------------- */

/* Bytes read, fewer at the end; -EBADMSG if the file cannot be read. */
static int read_some(struct pcap_reader *r, void *to, size_t n)
{
	int got = gzread(r->file, to, (unsigned)n), err;

	if (got >= 0)
		return got;
	r->error = gzerror(r->file, &err);
	if (err == Z_ERRNO)
		r->error = strerror(errno);
	return -EBADMSG;
}

static int read_all(struct pcap_reader *r, void *to, size_t n)
{
	int got = read_some(r, to, n);

	if (got < 0)
		return got;
	return (size_t)got == n ? 0 : bad(r, "truncated: the file ends inside a packet or block");
}

static int skip(struct pcap_reader *r, size_t n)
{
	uint8_t scratch[4096];
	int err = 0;

	for (size_t part; n && !err; n -= part) {
		part = n < sizeof(scratch) ? n : sizeof(scratch);
		err = read_all(r, scratch, part);
	}
	return err;
}

/* The captured bytes of a packet, and after them skips rest. */
static int read_data(struct pcap_reader *r, struct pcap_packet *p, size_t rest)
{
	int err;

	p->data = r->data;
	p->len = p->captured < sizeof(r->data) ? p->captured : sizeof(r->data);
	err = read_all(r, r->data, p->len);
	return err ? err : skip(r, p->captured - p->len + rest);
}

/* --- time ---------------------------------------------------------------------- */

static uint64_t to_ns(const struct interface *iface, uint64_t units)
{
	uint64_t ns;
	uint8_t n = iface->resolution & ~BINARY;

	if (iface->resolution & BINARY) {
		ns = n < 64 ? (uint64_t)(((unsigned __int128)units * NS_PER_SEC) >> n) : 0;
	} else {
		ns = units;
		for (; n < 9; n++)
			ns *= 10;
		for (; n > 9; n--)
			ns /= 10;
	}
	return ns + (uint64_t)iface->offset_s * NS_PER_SEC;
}

/* --- pcap ----------------------------------------------------------------------- */

static int next_pcap(struct pcap_reader *r, struct pcap_packet *ret)
{
	uint8_t head[24];
	int got = read_some(r, head, r->packet_head);
	uint64_t fraction;

	if (got <= 0)
		return got;
	if ((size_t)got < r->packet_head)
		return bad(r, "truncated: the file ends inside a packet's header");
	fraction = get32(r, head + 4);
	if (r->only.resolution == RESOLUTION_US)
		fraction *= 1000;
	ret->time_ns = get32(r, head) * NS_PER_SEC + fraction;
	ret->captured = get32(r, head + 8);
	ret->bytes = get32(r, head + 12);
	ret->link = r->only.link;
	if (ret->captured > PCAP_READER_CAPTURED_MAX)
		return bad(r, "damaged: a packet of impossible length");
	got = read_data(r, ret, 0);
	return got ? got : 1;
}

static int open_pcap(struct pcap_reader *r, uint32_t magic)
{
	uint8_t head[20]; /* behind the magic number */
	int err = read_all(r, head, sizeof(head));

	if (err)
		return bad(r, "truncated: the file ends inside its header");
	if (get16(r, head) != 2)
		return bad(r, "a pcap of a version other than 2");
	r->only.resolution = magic == PCAP_NS ? 9 : RESOLUTION_US;
	r->only.link = get32(r, head + 16) & PCAP_LINK_MASK;
	r->packet_head = magic == PCAP_PATCHED ? 24 : 16;
	return 0;
}

/* --- pcapng ---------------------------------------------------------------------- */

/* A section header behind its type. The byte order of what follows is in it. */
static int begin_section(struct pcap_reader *r)
{
	uint8_t head[8]; /* length, byte order */
	uint8_t version[4];
	uint32_t len;
	int err = read_all(r, head, sizeof(head));

	if (err)
		return err;
	r->swapped = false;
	r->swapped = get32(r, head + 4) != PCAPNG_ORDER;
	if (get32(r, head + 4) != PCAPNG_ORDER)
		return bad(r, "damaged: a section without its byte-order mark");
	len = get32(r, head);
	if (len < 28 || len % 4 || len > PCAP_READER_CAPTURED_MAX)
		return bad(r, "damaged: a section header of impossible length");
	err = read_all(r, version, sizeof(version));
	/* 1.2 is what some writers call 1.0. */
	if (!err &&
	    (get16(r, version) != 1 || (get16(r, version + 2) != 0 && get16(r, version + 2) != 2)))
		return bad(r, "a pcapng of a version other than 1.0");
	r->n_ifaces = 0;
	return err ? err : skip(r, len - 4 - sizeof(head) - sizeof(version));
}

static void read_options(struct pcap_reader *r, const uint8_t *at, size_t len,
			 struct interface *iface)
{
	while (len >= 4) {
		uint16_t code = get16(r, at), n = get16(r, at + 2);
		size_t padded = 4 + ((size_t)n + 3) / 4 * 4;

		if (code == OPTION_END || padded > len)
			return;
		if (code == OPTION_RESOLUTION && n >= 1)
			iface->resolution = at[4];
		else if (code == OPTION_OFFSET && n >= 8)
			iface->offset_s = (int64_t)get64(r, at + 4);
		at += padded;
		len -= padded;
	}
}

static struct interface *add_iface(struct pcap_reader *r)
{
	struct interface *grown;
	size_t room = r->room ? r->room * 2 : 4;

	if (r->n_ifaces == r->room) {
		grown = realloc(r->ifaces, room * sizeof(*grown));
		if (!grown)
			return NULL;
		r->ifaces = grown;
		r->room = room;
	}
	return &r->ifaces[r->n_ifaces++];
}

/* body: bytes of the block that are still to be read, the second length not among them. */
static int read_interface(struct pcap_reader *r, size_t body)
{
	size_t part = body < sizeof(r->data) ? body : sizeof(r->data);
	struct interface *iface;
	int err;

	if (body < 8)
		return bad(r, "damaged: an interface description that is too short");
	if (r->n_ifaces == PCAP_READER_MAX_IFACES)
		return bad(r, "more interfaces than we read");
	err = read_all(r, r->data, part);
	if (err)
		return err;
	iface = add_iface(r);
	if (!iface) {
		r->error = "out of memory";
		return -ENOMEM;
	}
	*iface = (struct interface){
		.link = get16(r, r->data),
		.snap_len = get32(r, r->data + 4),
		.resolution = RESOLUTION_US,
	};
	read_options(r, r->data + 8, part - 8, iface);
	return skip(r, body - part);
}

static int read_packet(struct pcap_reader *r, uint32_t type, size_t body, struct pcap_packet *ret)
{
	size_t head_len = type == BLOCK_SIMPLE_PACKET ? 4 : 20;
	const struct interface *iface;
	uint8_t head[20];
	uint32_t number = 0;
	int err;

	if (body < head_len)
		return bad(r, "damaged: a packet block that is too short");
	err = read_all(r, head, head_len);
	if (err)
		return err;
	body -= head_len;
	if (type != BLOCK_SIMPLE_PACKET)
		number = type == BLOCK_OBSOLETE_PACKET ? get16(r, head) : get32(r, head);
	if (number >= r->n_ifaces)
		return bad(r, "damaged: a packet of an interface that is not described");
	iface = &r->ifaces[number];
	ret->link = iface->link;
	if (type == BLOCK_SIMPLE_PACKET) {
		ret->bytes = ret->captured = get32(r, head);
		if (iface->snap_len && ret->captured > iface->snap_len)
			ret->captured = iface->snap_len;
		ret->time_ns = r->last_ns;
	} else {
		ret->time_ns =
			to_ns(iface, (uint64_t)get32(r, head + 4) << 32 | get32(r, head + 8));
		ret->captured = get32(r, head + 12);
		ret->bytes = get32(r, head + 16);
	}
	if (ret->captured > body)
		return bad(r, "damaged: a packet that is longer than its block");
	return read_data(r, ret, body - ret->captured);
}

/* The body of a block and its second length. 1 if it was a packet. */
static int read_block(struct pcap_reader *r, uint32_t type, struct pcap_packet *ret)
{
	uint8_t length[4];
	bool packet = false;
	uint32_t len;
	size_t body;
	int err;

	if (type == BLOCK_SECTION)
		return begin_section(r);
	err = read_all(r, length, sizeof(length));
	if (err)
		return err;
	len = get32(r, length);
	if (len < BLOCK_MIN || len > PCAP_READER_CAPTURED_MAX)
		return bad(r, "damaged: a block of impossible length");
	body = (len + 3) / 4 * 4 - BLOCK_MIN; /* some writers leave out the padding in it */
	switch (type) {
	case BLOCK_INTERFACE:
		err = read_interface(r, body);
		break;
	case BLOCK_OBSOLETE_PACKET:
	case BLOCK_SIMPLE_PACKET:
	case BLOCK_ENHANCED_PACKET:
		packet = true;
		err = read_packet(r, type, body, ret);
		break;
	default:
		err = skip(r, body);
	}
	if (!err)
		err = read_all(r, length, sizeof(length));
	if (!err && get32(r, length) != len)
		return bad(r, "damaged: a block whose two lengths differ");
	return err ? err : packet;
}

static int next_pcapng(struct pcap_reader *r, struct pcap_packet *ret)
{
	uint8_t type[4];
	int got;

	do {
		got = read_some(r, type, sizeof(type));
		if (got <= 0)
			return got;
		if ((size_t)got < sizeof(type))
			return bad(r, "truncated: the file ends inside a block");
		got = read_block(r, get32(r, type), ret);
	} while (got == 0);
	return got;
}

/* --- the file ---------------------------------------------------------------------- */

static int begin(struct pcap_reader *r)
{
	uint8_t magic[4];
	int got = read_some(r, magic, sizeof(magic));

	if (got < 0)
		return got;
	if (got < (int)sizeof(magic))
		return bad(r, got ? "too short for a capture file" : "the file is empty");
	for (int i = 0; i < 2; i++) {
		uint32_t n = get32(r, magic);

		if (n == BLOCK_SECTION) {
			r->ng = true;
			return begin_section(r);
		}
		if (n == PCAP_US || n == PCAP_NS || n == PCAP_PATCHED)
			return open_pcap(r, n);
		r->swapped = !r->swapped;
	}
	return bad(r, "unknown file format: neither pcap nor pcapng");
}

int pcap_reader_open(const char *path, struct pcap_reader **ret, int64_t *ret_link)
{
	struct pcap_reader *r = calloc(1, sizeof(*r));
	int err;

	*ret = r;
	if (!r)
		return -ENOMEM;
	errno = 0;
	r->file = strcmp(path, "-") == 0 ? gzdopen(dup(STDIN_FILENO), "rb") : gzopen(path, "rbe");
	if (!r->file) {
		err = errno ? -errno : -ENOMEM;
		r->error = strerror(-err);
		return err;
	}
	(void)gzbuffer(r->file, GZIP_BUFFER_BYTES);
	err = begin(r);
	*ret_link = r->ng ? -1 : (int64_t)r->only.link;
	return err;
}

void pcap_reader_close(struct pcap_reader *r)
{
	if (!r)
		return;
	if (r->file)
		(void)gzclose_r(r->file); /* nothing was written */
	free(r->ifaces);
	free(r);
}

int pcap_reader_next(struct pcap_reader *r, struct pcap_packet *ret)
{
	struct pcap_packet packet = {0};
	int got = r->ng ? next_pcapng(r, &packet) : next_pcap(r, &packet);

	if (got != 1)
		return got;
	r->last_ns = packet.time_ns;
	*ret = packet;
	return 1;
}

const char *pcap_reader_error(const struct pcap_reader *r)
{
	return r && r->error ? r->error : "out of memory";
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * pcap_reader.h - the packets of a capture file, as they are in it.
 *
 * Reads pcap (2.x, either byte order, us or ns, and with the longer packet header of
 * some patched libpcaps) and pcapng (draft-ietf-opsawg-pcapng: several sections of
 * either byte order, several interfaces of different links, resolutions and snapshot
 * lengths; enhanced, simple and the obsolete packet blocks), also compressed by gzip.
 * Not libpcap, which refuses a pcapng whose interfaces differ.
 *
 * Memory: the start of one packet and a few bytes an interface, however long the
 * file. Threads: one file belongs to one thread.
 */
#ifndef WEIR_PROBE_REPLAY_PCAP_READER_H
#define WEIR_PROBE_REPLAY_PCAP_READER_H

#include <stddef.h>
#include <stdint.h>

struct pcap_reader;

#define PCAP_READER_DATA_MAX	 4096	     /* more of a packet is not handed out */
#define PCAP_READER_CAPTURED_MAX (64u << 20) /* more in one packet or block is damage */
#define PCAP_READER_MAX_IFACES	 65536	     /* in one section of a pcapng */

struct pcap_packet {
	uint64_t time_ns;    /* since the epoch; a packet without: the time of the one before */
	uint32_t link;	     /* LINKTYPE_*: https://www.tcpdump.org/linktypes.html */
	uint32_t bytes;	     /* on the captured link */
	uint32_t captured;   /* of those, what the file has */
	const uint8_t *data; /* borrowed until the next call */
	size_t len;	     /* bytes at data: captured, or PCAP_READER_DATA_MAX */
};

/*
 * "-" is stdin. -ENOMEM, -EBADMSG if it is no capture, or what opening the file came to.
 * ret_link: of a pcap, the one link; -1 for a pcapng, whose interfaces come on the way.
 */
int pcap_reader_open(const char *path, struct pcap_reader **ret, int64_t *ret_link);

/* NULL is a no-op. */
void pcap_reader_close(struct pcap_reader *r);

/* 1 with the next packet; 0 at the end; -EBADMSG where the file is damaged, -ENOMEM. */
int pcap_reader_next(struct pcap_reader *r, struct pcap_packet *ret);

/* In words, after an error. Never NULL. */
const char *pcap_reader_error(const struct pcap_reader *r);

#endif /* WEIR_PROBE_REPLAY_PCAP_READER_H */

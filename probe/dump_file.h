/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dump_file.h - the packets of a capture file, each as an Ethernet frame.
 *
 * Reads what libpcap reads: pcap and pcapng, either byte order, us or ns. A
 * capture without Ethernet headers (raw IP, Linux cooked, BSD loopback, PPP) gets
 * one put in front; its lengths stay the capture's. libpcap holds one packet at a
 * time and refuses packets of more than 256 KiB.
 *
 * Threads: one file belongs to one thread.
 */
#ifndef WEIR_PROBE_DUMP_FILE_H
#define WEIR_PROBE_DUMP_FILE_H

#include <stddef.h>
#include <stdint.h>

struct dump_file;

#define DUMP_FILE_FRAME_MAX 3072 /* more of a frame is not handed out */

struct dump_frame {
	uint64_t time_ns;    /* since the epoch; 1 at least */
	uint32_t bytes;	     /* length on the captured link */
	uint32_t captured;   /* of those, what the file has */
	uint32_t frame_len;  /* as an Ethernet frame, with what the capture cut off */
	const uint8_t *data; /* start of the frame; borrowed until the next call */
	size_t len;	     /* bytes at data; 0 if the link header itself is cut */
};

#define DUMP_FILE_ERROR_BYTES 320

/* "-" is stdin. On failure (-EBADMSG, -EPROTONOSUPPORT) ret_error says in words why. */
int dump_file_open(const char *path, struct dump_file **ret, char ret_error[DUMP_FILE_ERROR_BYTES]);

/* NULL is a no-op. */
void dump_file_close(struct dump_file *f);

/* 1 with the next packet; 0 at the end; -EBADMSG where the file is damaged. */
int dump_file_next(struct dump_file *f, struct dump_frame *ret);

/* What is wrong with the file, after -EBADMSG. Owned by f. */
const char *dump_file_error(const struct dump_file *f);

#endif /* WEIR_PROBE_DUMP_FILE_H */

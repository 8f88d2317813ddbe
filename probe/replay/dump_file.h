/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dump_file.h - the packets of a capture file, each as an Ethernet frame.
 *
 * probe/replay/pcap_reader.h says what files, probe/replay/dump_link.h what links are read. A link
 * header other than Ethernet's is replaced by one; lengths stay the capture's. A pcapng
 * may hold packets of links that we do not read beside others: those come without a frame.
 *
 * Threads: one file belongs to one thread.
 */
#ifndef WEIR_PROBE_REPLAY_DUMP_FILE_H
#define WEIR_PROBE_REPLAY_DUMP_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dump_file;

#define DUMP_FILE_FRAME_MAX 3072 /* more of a frame is not handed out */

struct dump_frame {
	uint64_t time_ns;    /* since the epoch; 1 at least */
	uint32_t link;	     /* LINKTYPE_* */
	bool unread;	     /* a link that we do not read: no frame */
	uint32_t bytes;	     /* length on the captured link */
	uint32_t captured;   /* of those, what the file has */
	uint32_t frame_len;  /* as an Ethernet frame, with what the capture cut off */
	const uint8_t *data; /* start of the frame; borrowed until the next call */
	size_t len;	     /* bytes at data; 0 if the link header itself is cut */
};

#define DUMP_FILE_ERROR_BYTES 320

/* "-" is stdin. On failure (-EBADMSG, -EPROTONOSUPPORT, ...) ret_error says in words why. */
int dump_file_open(const char *path, struct dump_file **ret, char ret_error[DUMP_FILE_ERROR_BYTES]);

/* NULL is a no-op. */
void dump_file_close(struct dump_file *f);

/* 1 with the next packet; 0 at the end; -EBADMSG where the file is damaged, -ENOMEM. */
int dump_file_next(struct dump_file *f, struct dump_frame *ret);

/* What is wrong with the file, after an error of dump_file_next(). Owned by f. */
const char *dump_file_error(const struct dump_file *f);

/* "link type 189 (USB) is not one we read" */
void dump_file_describe_link(uint32_t link, char ret[DUMP_FILE_ERROR_BYTES]);

#endif /* WEIR_PROBE_REPLAY_DUMP_FILE_H */

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * payload_reader.h - takes the payloads out of the ring that the BPF programs
 * copy them to, and gives them to names.
 *
 * The ring holds about two thousand; what it has no room for the programs count
 * as payloads_lost. So it is to be read whenever its descriptor is readable,
 * not only before a drain.
 *
 * Threads: one at a time. Errors: -errno.
 */
#ifndef WEIR_PROBE_DRAIN_PAYLOAD_READER_H
#define WEIR_PROBE_DRAIN_PAYLOAD_READER_H

struct names;
struct payload_reader;

/* map_fd: the map "payloads". names is borrowed until payload_reader_close(). */
int payload_reader_open(int map_fd, struct names *names, struct payload_reader **ret);

/* NULL is a no-op. */
void payload_reader_close(struct payload_reader *r);

/* Readable when there are payloads; owned by r. */
int payload_reader_fd(const struct payload_reader *r);

/* Takes all that are there. Does not wait. */
void payload_reader_consume(struct payload_reader *r);

#endif /* WEIR_PROBE_DRAIN_PAYLOAD_READER_H */

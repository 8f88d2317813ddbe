/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * peer.h - another project's flow counter, loaded from the object that the
 * person who runs the bench has built, to be measured beside ours.
 *
 * The object's path comes from the environment (NETOBSERV_OBJ, EPPING_OBJ).
 * One program of it is loaded, its flow maps as large as ours, its settings as
 * its own user space would make them to measure TCP; nothing is attached.
 */
#ifndef WEIR_TESTS_BENCH_PEER_H
#define WEIR_TESTS_BENCH_PEER_H

#include <stdint.h>

enum peer_kind { PEER_NETOBSERV, PEER_EPPING, PEER_MAX };

struct peer;

/* NULL without an object; also, after a line on stderr, if it cannot be loaded. */
struct peer *peer_open(enum peer_kind kind, uint32_t flows);

/* NULL is a no-op. */
void peer_close(struct peer *p);

/* "netobserv", "epping": the begin of a figure's key. */
const char *peer_name(enum peer_kind kind);

int peer_prog_fd(const struct peer *p);

/* Forgets every flow. */
void peer_empty(struct peer *p);

#endif /* WEIR_TESTS_BENCH_PEER_H */

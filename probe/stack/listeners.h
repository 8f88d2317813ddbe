/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * listeners.h - connections that listening TCP sockets refused, because their
 * queue was full or memory was short (the kernel's counter of each socket).
 *
 * Counted by port and process from the first pass on, which only looks.
 *
 * Threads: one struct listeners belongs to one thread. Memory: none but itself.
 */
#ifndef WEIR_PROBE_STACK_LISTENERS_H
#define WEIR_PROBE_STACK_LISTENERS_H

#include <stdbool.h>
#include <stdint.h>

struct sock_listener;

#define LISTENERS_MAX	    1024 /* sockets that are followed; drops of others: "other" */
#define LISTENERS_MAX_NAMES 12	 /* ports and processes that are told by name */
#define LISTENERS_NAME_MAX  32

struct listeners {
	struct listener_seen {
		uint64_t cookie; /* 0: free */
		uint32_t drops;
		uint32_t pass;
	} seen[LISTENERS_MAX];
	struct listener_drops {
		char name[LISTENERS_NAME_MAX]; /* "8080_python3": port and process */
		uint64_t drops;
	} named[LISTENERS_MAX_NAMES];
	uint32_t n_seen, n_named;
	uint32_t pass;
	uint64_t other;
};

/* A pass: begin, every listener, end. */
void listeners_begin(struct listeners *l);
void listeners_put(struct listeners *l, const struct sock_listener *s);
void listeners_end(struct listeners *l);

#endif /* WEIR_PROBE_STACK_LISTENERS_H */

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sender.h - the thread that brings the spool to the collector.
 *
 * It alone touches the socket. It says HELLO, sends the batches of an epoch in
 * order within the collector's credit, releases what is acknowledged, and sends
 * again from the oldest batch after a refusal or a new connection. Two epochs
 * are sent at a time: the live one first, and the oldest of the others with at
 * most half of the credit. A live epoch that has become a backlog is followed by
 * another one, so that what happens now never waits for what has been. A collector that does
 * not answer for SENDER_SILENCE_NS gets a new connection, after a pause that
 * grows from 100 ms to 10 s; meanwhile the spool keeps the batches.
 * What an earlier start of the probe has left goes first, under its own HELLO.
 * HELLO also tells the addresses of this host; when they have changed, it is said
 * again.
 *
 * Threads: start and stop from one thread; sender_stats() from any. The
 * thread inherits the signal mask: block what it shall not take before.
 */
#ifndef WEIR_PROBE_UPLINK_SENDER_H
#define WEIR_PROBE_UPLINK_SENDER_H

#include <stddef.h>
#include <stdint.h>

struct hello;
struct own_addrs;
struct spool;
struct sender;

#define SENDER_SILENCE_NS 3000000000ull
#define SENDER_ADDRS_NS	  10000000000ull

struct sender_stats {
	uint64_t connects;     /* WELCOMEs */
	uint64_t bad_frames;   /* from the collector, that we could not read */
	uint64_t addrs_untold; /* addresses of this host that HELLO has no room for */
};

struct sender_settings {
	const char *const *urls; /* n of them, at least one: link_check_url() */
	size_t n;		 /* in the order of preference: route.h */
	const char *state_dir;	 /* where the keys are: keyring.h */
	uint64_t silence_ns;	 /* without an answer the link is given up; 0: SENDER_SILENCE_NS */
	int (*read_addrs)(struct own_addrs *ret); /* own_addrs_read(); NULL: HELLO tells none */
	uint64_t addrs_ns; /* how often they are looked at; 0: SENDER_ADDRS_NS */
};

/*
 * settings are copied, what they point to is borrowed, like the rest, until
 * sender_stop(). hello: what stays the same of it; its epoch is that of the run;
 * epochs, clocks and backlog are filled in when it is sent. Returns -errno.
 */
int sender_start(const struct sender_settings *settings, const struct hello *hello,
		 struct spool *spool, struct sender **ret);

void sender_stats(const struct sender *s, struct sender_stats *ret);

/*
 * Waits until all batches are acknowledged, at most wait_ms, and ends the
 * thread. What is left stays in the spool. NULL is a no-op.
 */
void sender_stop(struct sender *s, uint64_t wait_ms);

#endif /* WEIR_PROBE_UPLINK_SENDER_H */

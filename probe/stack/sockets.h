/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sockets.h - the programs of bpf/sockets.bpf.c: what they tell of sockets goes
 * to struct owners, what TCP sends again to struct tallies.
 *
 * Optional: a kernel that refuses it costs only what it would tell. Without a
 * cgroup2 that can be attached to, only UDP is missing.
 *
 * Threads: one at a time. Errors: -errno.
 */
#ifndef WEIR_PROBE_STACK_SOCKETS_H
#define WEIR_PROBE_STACK_SOCKETS_H

#include <stdbool.h>
#include <stdint.h>

struct owners;
struct sock_listener;
struct sockets;
struct tallies;

/*
 * Loads and attaches, then reads which sockets exist already. owners is
 * borrowed until sockets_close().
 */
int sockets_open(struct owners *owners, struct sockets **ret);

/* NULL is a no-op. */
void sockets_close(struct sockets *s);

/*
 * 0, or why UDP sockets are not told (-ENOENT: there is no cgroup2; -EXDEV: only
 * those of processes in this one's part of it are).
 */
int sockets_udp_error(const struct sockets *s);

/* Hands on what has been told. sockets_fd() is readable when there is much of it; s owns it. */
void sockets_consume(struct sockets *s);
int sockets_fd(const struct sockets *s);

/* Reads all sockets, as sockets_open() does: after some were not told. */
int sockets_read_all(struct sockets *s);

/* Reads all UDP sockets: those that have got their port since. */
int sockets_read_udp(struct sockets *s);

int sockets_read_tallies(struct sockets *s, struct tallies *t, uint64_t now_ns);

/* Visits every TCP socket that listens. l is borrowed until the call returns. */
typedef void (*sockets_listener_fn)(const struct sock_listener *l, void *arg);
int sockets_read_listeners(struct sockets *s, sockets_listener_fn visit, void *arg);

struct tally_state;

/* Counters of the kernel's side of the tallies. */
const struct tally_state *sockets_tally_state(const struct sockets *s);

/* Runs of the programs that the kernel left out: another of theirs was interrupted by it. */
uint64_t sockets_missed(const struct sockets *s);

/* What was not told for want of room. */
uint64_t sockets_lost(const struct sockets *s);

#endif /* WEIR_PROBE_STACK_SOCKETS_H */

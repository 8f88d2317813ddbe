/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * guard.h - a child process that attaches clsact filters for us and takes them
 * away when we are gone, however we went (kill -9 included).
 *
 * BPF links (XDP, TCX) end with the process; clsact filters do not. So the
 * child alone attaches and detaches them: what it does at the end of the
 * socket to us is complete, there is no moment at which a filter exists that
 * it does not know. It has a session of its own and ignores the signals of
 * ours. Only killing both with SIGKILL leaves filters behind.
 *
 * Threads: guard_open() forks, so before any thread is started. Errors: -errno.
 */
#ifndef WEIR_PROBE_DATAPATH_GUARD_H
#define WEIR_PROBE_DATAPATH_GUARD_H

#include <stdbool.h>
#include <stdint.h>

struct clsact_filter;
struct guard;

int guard_open(struct guard **ret);

/* As clsact_attach(); returns once the filter is in place. prog_fd is borrowed. */
int guard_attach(struct guard *g, uint32_t ifindex, bool egress, int prog_fd,
		 struct clsact_filter *ret);

/* As clsact_detach(), of a filter from guard_attach(), which is then forgotten. */
int guard_detach(struct guard *g, const struct clsact_filter *filter);

/* Detaches everything and waits until that is done. NULL is a no-op. */
void guard_close(struct guard *g);

#endif /* WEIR_PROBE_DATAPATH_GUARD_H */

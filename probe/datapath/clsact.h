/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * clsact.h - one BPF filter on the clsact qdisc of an interface (kernels
 * without TCX).
 *
 * A filter takes a priority of its own that nobody uses and replaces nothing.
 * Unlike a BPF link it outlives its process: see probe/datapath/guard.h for who takes
 * it away. Errors: -errno. Threads: one at a time.
 */
#ifndef WEIR_PROBE_DATAPATH_CLSACT_H
#define WEIR_PROBE_DATAPATH_CLSACT_H

#include <stdbool.h>
#include <stdint.h>

struct clsact_filter {
	uint32_t ifindex;
	uint32_t priority;
	uint32_t prog_id;
	bool egress;
	bool made_qdisc; /* clsact was not there before this filter */
};

/* Makes the qdisc if needed. Returns -EEXIST or -EINVAL if no priority in reach is free. */
int clsact_attach(uint32_t ifindex, bool egress, int prog_fd, struct clsact_filter *ret);

/* Whether the filter still is the program that we attached. Anybody may ask, not only its maker. */
bool clsact_is_attached(const struct clsact_filter *filter);

/*
 * Takes the filter away if it still is the program that we attached, and the
 * qdisc if we made it and no filter is left in it. An interface or filter that
 * has gone is no error.
 */
int clsact_detach(const struct clsact_filter *filter);

#endif /* WEIR_PROBE_DATAPATH_CLSACT_H */

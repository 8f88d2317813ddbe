/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * own_addrs.h - the addresses of this host's interfaces, for HELLO: the collector
 * then knows whose conversations they are.
 *
 * Only what a host can have for itself (addr_is_of_host()); an address on the
 * loopback interface counts (virtual services), loopback addresses do not. Those
 * of the network namespace of the caller. Threads: any.
 */
#ifndef WEIR_PROBE_DATAPATH_OWN_ADDRS_H
#define WEIR_PROBE_DATAPATH_OWN_ADDRS_H

#include <stddef.h>
#include <stdint.h>

#include "proto/message.h"

struct own_addrs {
	size_t n;
	size_t untold;			    /* beyond HELLO_MAX_ADDRS */
	uint8_t addrs[HELLO_MAX_ADDRS][16]; /* rising, each once */
};

/* Returns -errno as getifaddrs(3) gives it, or -ENOMEM. */
int own_addrs_read(struct own_addrs *ret);

#endif /* WEIR_PROBE_DATAPATH_OWN_ADDRS_H */

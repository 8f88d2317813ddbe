/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ethertype.h - names of what is not IP.
 *
 * Threads: any.
 */
#ifndef WEIR_PROBE_DATAPATH_ETHERTYPE_H
#define WEIR_PROBE_DATAPATH_ETHERTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ETHERTYPE_NAME_BYTES 16

/*
 * "arp", "lldp", "llc" (an 802.3 frame that names no ethertype), "other" (of more than
 * the datapath has room for), else "0x88b5". type: a key of the datapath's map.
 */
const char *ethertype_name(uint32_t type, char buf[ETHERTYPE_NAME_BYTES]);

/* Counters have a limit: the ethertypes that came first are named, the rest add up. All zero: none.
 */
#define ETHERTYPE_NAMED_MAX 20
struct ethertype_named {
	uint32_t type[ETHERTYPE_NAMED_MAX];
	size_t n;
};

/* Names it if there is still room. */
bool ethertype_is_named(struct ethertype_named *named, uint32_t type);

#endif /* WEIR_PROBE_DATAPATH_ETHERTYPE_H */

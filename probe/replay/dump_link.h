/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dump_link.h - link headers of capture files that are not Ethernet's: how long
 * they are, and what follows.
 *
 * Numbers are LINKTYPE_* (https://www.tcpdump.org/linktypes.html), and of the DLT_*
 * those that some systems write into files: raw IP, BSD loopback, PPP, Cisco HDLC,
 * Frame Relay, ATM (RFC 1483), FDDI, ARCNET, IEEE 802.11 (with or without what radiotap,
 * Prism or AVS put before), Linux cooked 1 and 2, netfilter log, MPLS, PKTAP, PPI,
 * pflog, IPNET, IP over InfiniBand, ...
 */
#ifndef WEIR_PROBE_REPLAY_DUMP_LINK_H
#define WEIR_PROBE_REPLAY_DUMP_LINK_H

#include <stddef.h>
#include <stdint.h>

/* Instead of an ethertype. */
enum {
	DUMP_LINK_UNKNOWN = 0,	     /* nothing that we know */
	DUMP_LINK_LLC = 4,	     /* an LLC header: what Linux calls ETH_P_802_2 */
	DUMP_LINK_ETHERNET = 0xffff, /* an Ethernet header, instead of one put in front */
};

/*
 * Reads the link header of len bytes at p. Returns its length and the ethertype of
 * what follows, or -1 if it is cut.
 */
typedef int (*dump_link_fn)(const uint8_t *p, size_t len, uint16_t *ret_ethertype);

/* 0, or -EPROTONOSUPPORT. *ret is NULL for Ethernet. */
int dump_link_find(uint32_t link, dump_link_fn *ret);

/* Of a link type that is often met and not read, or NULL. */
const char *dump_link_name(uint32_t link);

#endif /* WEIR_PROBE_REPLAY_DUMP_LINK_H */

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * traffic.h - the records of a window, with every conversation counted once.
 *
 * When both ends of a conversation (and routers between) run a probe, each
 * reports it. Sums over records would count it once per probe. So a record is
 * set aside when another host reported the same conversation, at an overlapping
 * time, and ranks before its own host:
 *
 *	first the host that sent src to dst (direction egress),
 *	then the lower host_id.
 *
 * The same conversation: equal protocol, pair of (address, port), and ICMP
 * identifier, whichever end is called src. Overlapping: the times that the two
 * records count (from the end of the flow's record before, on the collector's
 * clock) come within TRAFFIC_SLACK_MS. So a port that is used again later stays
 * a conversation of its own, and what only one of the hosts has seen stays, but
 * for the record at the edge. Never set aside: loopback (each host has its own)
 * and catch-all records (they name no conversation).
 *
 * Records whose hosts disagree on addresses (NAT between them) are two
 * conversations here.
 */
#ifndef WEIR_COLLECTOR_TRAFFIC_H
#define WEIR_COLLECTOR_TRAFFIC_H

#include <stdint.h>

#include <sqlite3.h>

#include "collector/cli.h"

#define TRAFFIC_SLACK_MS 2000

/*
 * Makes the temporary table traffic on db: the columns of flows, of the records
 * within the window and the filter (argv) of s. *ret_copies: how many were set
 * aside. Returns an exit status as the functions of cli.h.
 */
int traffic_build(const struct cli_settings *s, sqlite3 *db, int argc, char **argv,
		  uint64_t *ret_copies);

#endif /* WEIR_COLLECTOR_TRAFFIC_H */

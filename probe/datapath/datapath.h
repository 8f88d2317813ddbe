/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * datapath.h - the loaded BPF programs and maps of bpf/weir.bpf.c.
 *
 * Loading attaches nothing: see probe/datapath/hooks.h. All of it goes away with the
 * process, or with datapath_close(). The flow table is shared memory between
 * the programs and us: struct datapath_table.
 *
 * Threads: one at a time. Errors: -errno; what libbpf has to say about them is
 * logged one level below ours.
 */
#ifndef WEIR_PROBE_DATAPATH_DATAPATH_H
#define WEIR_PROBE_DATAPATH_DATAPATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/flow_abi.h"

struct datapath;

enum datapath_prog {
	DATAPATH_XDP_FRAGS, /* absent (-1) before Linux 5.18 */
	DATAPATH_XDP,
	DATAPATH_TC_INGRESS,
	DATAPATH_TC_EGRESS,
	DATAPATH_TC_INGRESS_L3,
	DATAPATH_TC_EGRESS_L3,
	DATAPATH_PROG_MAX,
};

/*
 * What is missing to load the programs here: 0 if nothing, -EPERM without
 * CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON (the programs subtract pointers to
 * learn lengths; CAP_SYS_ADMIN stands for both), -ENOENT if the kernel has no BTF.
 */
int datapath_check(void);

/*
 * The flow table, mapped: bpf/flow_abi.h says who may write what. Only
 * probe/drain/drain.c writes it.
 */
struct datapath_table {
	uint32_t n_slots;	     /* a power of two */
	struct flow_bucket *buckets; /* n_slots / 2 of them */
	struct flow_slot *slots;
	struct flow_perf *perf;
	struct flow_free_ring *ring; /* [0], then n_slots entries */
};

#define DATAPATH_MAX_FLOWS (1u << 22)

/*
 * Loads everything, with a table for max_flows flows, rounded up to a power of
 * two. -EINVAL if that is 0 or above DATAPATH_MAX_FLOWS.
 */
int datapath_open(uint32_t max_flows, struct datapath **ret);

/*
 * The same with a table that outlives the process, in pins. settled NULL: a new
 * one; datapath_pin() lets it stay. Else the one that is pinned there, with the
 * size and seed that it has: -ESTALE if anything of it is missing or has
 * another shape.
 */
struct pins;
struct settled_table;
int datapath_open_pinned(uint32_t max_flows, const struct pins *pins,
			 const struct settled_table *settled, struct datapath **ret);
int datapath_pin(const struct datapath *d, const struct pins *pins);

/* Packets that the programs of the table in pins have seen, whatever its layout. 0: unknown. */
uint64_t datapath_pinned_seen(const struct pins *pins);

/* What the programs hash keys with. */
uint64_t datapath_hash_seed(const struct datapath *d);

/* The same for datapath_replay(): the programs take time and lengths from there. */
int datapath_open_replay(uint32_t max_flows, struct datapath **ret);

/*
 * Sends one Ethernet frame through the TC ingress program; nothing leaves the
 * machine. len is from DATAPATH_FRAME_MIN to DATAPATH_FRAME_MAX bytes: the
 * start of the frame is enough, packet has the real lengths and the time.
 * Returns -errno.
 */
int datapath_replay(struct datapath *d, const struct flow_replay *packet, const void *frame,
		    size_t len);
#define DATAPATH_FRAME_MIN 14	/* an Ethernet header */
#define DATAPATH_FRAME_MAX 3072 /* what BPF_PROG_TEST_RUN takes for one page, and some air */

/* NULL is a no-op. */
void datapath_close(struct datapath *d);

/* Owned by d. */
const struct datapath_table *datapath_table(const struct datapath *d);
int datapath_prog_fd(const struct datapath *d, enum datapath_prog prog);
int datapath_payloads_fd(const struct datapath *d); /* the map */

/* Waits until every program that runs at this moment has ended (an RCU grace period). */
void datapath_settle(void);

/* Sums over all CPUs, since the table was made. ret is written on success only. */
int datapath_counters(const struct datapath *d, uint64_t ret[FLOW_CNT_MAX]);
int datapath_catch_all(const struct datapath *d, struct flow_totals ret[FLOW_HOOK_MAX]);

/* Visits every ethertype that is not IP, in no order; probe/datapath/ethertype.h names them. */
typedef void (*datapath_ethertype_fn)(uint32_t ethertype, const struct flow_ethertype *n,
				      void *arg);
int datapath_ethertypes(const struct datapath *d, datapath_ethertype_fn visit, void *arg);

#endif /* WEIR_PROBE_DATAPATH_DATAPATH_H */

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * capture.h - everything that run and show share: the datapath, its hooks and
 * the drain, opened and closed in the one order that loses nothing.
 *
 * Threads: one at a time; capture_open() before any thread is started
 * (probe/datapath/hooks.h).
 */
#ifndef WEIR_PROBE_COMMAND_CAPTURE_H
#define WEIR_PROBE_COMMAND_CAPTURE_H

#include "bpf/flow_abi.h"
#include "probe/datapath/datapath.h"
#include "probe/drain/drain.h"

struct capture;
struct hooks;
struct settings;
struct stack;
struct spool_settled;
struct wall_clock;

/*
 * Loads, attaches to the interfaces of s and is ready for capture_drain().
 * Returns EXIT_OK, or another enum exit_code after logging why. emit gets the
 * records of the drains, with arg.
 */
int capture_open(const struct settings *s, uint64_t epoch, drain_emit_fn emit, void *arg,
		 struct capture **ret);

/*
 * The same with a flow table that outlives the process, where the settings and
 * the system allow it (pins.h): what a killed probe has left goes on. known is
 * what the spool says of it (settlement.h). On failure of that alone it goes on
 * as capture_open() does, after a warning.
 */
int capture_open_settled(const struct settings *s, uint64_t epoch,
			 const struct spool_settled *known, drain_emit_fn emit, void *arg,
			 struct capture **ret);

/* Of the flow table: for the spool. The epoch, if nothing outlives the process. */
uint64_t capture_instance(const struct capture *c);

/* How far its records have got: the number of the group that was sealed last. */
uint64_t capture_group(const struct capture *c);

/* All records so far go with the next commit of the spool: the number for it. */
uint64_t capture_seal(struct capture *c);

/* The spool has stored that group, and all before. */
void capture_settled(struct capture *c, uint64_t group);

/* All records are stored: nothing stays in the kernel after capture_close(). */
void capture_unpin(struct capture *c);

/* What an earlier probe with another layout has left and we could not read. */
struct discarded {
	uint64_t tables;
	uint64_t packets; /* that may have been in no record yet */
};
const struct discarded *capture_discarded(const struct capture *c);

/* Where the table is pinned; NULL: nowhere. */
const char *capture_pinned_at(const struct capture *c);

/* EXIT_OK if the BPF programs can be loaded here, or another exit code after logging why not. */
int capture_check_kernel(void);

/* Detaches if capture_finish() has not. NULL is a no-op. */
void capture_close(struct capture *c);

/* What has become of the interfaces since capture_open(). */
struct follow_stats {
	uint64_t attached; /* that came later and were attached */
	uint64_t detached; /* from which somebody took our program; attached again */
	uint64_t failed;   /* attempts to attach later that failed */
};

/*
 * Follows the interfaces: attaches to those that appear or come up and that
 * the settings ask for, takes over new names, notices programs that were
 * detached. Looks when there is news, and every 5 s.
 */
void capture_follow(struct capture *c);
const struct follow_stats *capture_follow_stats(const struct capture *c);

/* One pass over the flow table; failures are logged and counted, not returned. */
void capture_drain(struct capture *c, enum drain_scope scope);

/* Call it when the descriptor, which c owns, is readable, or payloads are lost: drain.h. */
void capture_payloads(struct capture *c);
int capture_payloads_fd(const struct capture *c);

/* The same for what the kernel tells of its sockets; -1: nothing comes. */
void capture_news(struct capture *c);
int capture_news_fd(const struct capture *c);

/*
 * Detaches the hooks, then drains with DRAIN_FINAL: the counters are final as
 * well. The table stays pinned until capture_unpin().
 */
void capture_finish(struct capture *c);

/* The kernel's counters, less what an earlier process has stored of them; what could not be read
 * keeps the value of the last call. */
const uint64_t *capture_counters(struct capture *c);

/* As datapath_ethertypes(). */
int capture_ethertypes(const struct capture *c, datapath_ethertype_fn visit, void *arg);

const struct drain_stats *capture_stats(const struct capture *c);
const struct wall_clock *capture_wall_clock(const struct capture *c);
const uint64_t *capture_names_counters(const struct capture *c);

/* What the host's own stack tells; owned by c. */
struct stack *capture_stack(const struct capture *c);

/* The hooks, until capture_finish(). */
const struct hooks *capture_hooks(const struct capture *c);

#endif /* WEIR_PROBE_COMMAND_CAPTURE_H */

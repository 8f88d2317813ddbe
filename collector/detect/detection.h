/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * detection.h - what the detectors find in one bucket of time, across hosts.
 *
 * All of it counts conversations, not records: the same one reported by
 * several hosts counts once. Rows of before a bucket are only looked at so
 * that a scan is not cut in two at its edge.
 *
 *	rate_spike  packets that a source sends, or that a service gets, against
 *	            the rate learnt for it
 *	syn_flood   connections to one service left half-open
 *	port_scan   ports of one host that one source tried, mostly in vain
 *	host_sweep  hosts that one source tried on one port, or pinged
 *
 * Nothing is written here: a detection is handed to the writer, which stores
 * it together with how far the detectors have read (store_detection()).
 * Records that arrive after their bucket was judged are not judged.
 */
#ifndef WEIR_COLLECTOR_DETECT_DETECTION_H
#define WEIR_COLLECTOR_DETECT_DETECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#define DETECTOR_STATE "buckets" /* detector_state.name */

/* Rates are per minute, whatever the length of a bucket. */
struct detection_limits {
	uint64_t rate_floor;  /* packets: slower is never a spike */
	uint64_t half_open;   /* connections to one service */
	uint64_t scan_ports;  /* a scan: ports of one host ... */
	uint64_t sweep_hosts; /* a sweep: ... hosts on one port, in two buckets */
};

/* A row of incident: new, or what becomes of one that goes on. Texts are owned. */
struct finding {
	int64_t incident_id;		    /* 0: new */
	const char *kind, *severity, *unit; /* constant */
	int64_t start_ms, end_ms;
	char *src_addr, *dst_addr; /* NULL: many */
	int64_t dst_port, proto;   /* -1: many, or none */
	char *hosts;
	double value, threshold;
	double baseline; /* NAN: fixed threshold */
	int64_t minutes;
	char *detail;
	char *evidence_sql;
};

/* A row of baseline. */
struct learnt {
	char *subject;
	double mean, variance;
	int64_t minutes;
};

struct detection {
	int64_t from_ms, until_ms; /* the bucket: [from, until) */
	int64_t done_until_ms;	   /* how far the detectors had read before */
	size_t n_findings, n_learnt;
	struct finding *findings;
	struct learnt *learnt;
	size_t n_left_out; /* findings or subjects above the limits of one bucket */
};

/*
 * Judges the bucket. db is a reading connection of this thread only; it gets
 * temporary tables. Returns -ENOMEM or an error of db_errno().
 */
int detection_new(sqlite3 *db, const struct detection_limits *limits, int64_t from_ms,
		  int64_t until_ms, struct detection **ret);

/* NULL is a no-op. */
void detection_free(struct detection *d);

#endif /* WEIR_COLLECTOR_DETECT_DETECTION_H */

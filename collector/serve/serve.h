/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * serve.h - `weir-collector serve`: receives from the probes, writes the
 * database, runs the detectors, until SIGINT or SIGTERM.
 *
 *	receiver --jobs--> writer          detector --jobs--> writer
 *	receiver <-replies-- writer       compactor --jobs--> writer
 *	                                   (both read the database by themselves)
 */
#ifndef WEIR_COLLECTOR_SERVE_SERVE_H
#define WEIR_COLLECTOR_SERVE_SERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/cli/cli.h"

struct serve_settings {
	char *config;
	bool check_config;
	char *db;		      /* NULL: $WEIR_DB, else weir.db */
	char *listen, *enroll_listen; /* the second NULL: the port after the first */
	int log_level;		      /* enum log_level */
	uint64_t max_peers;
	uint64_t silent_ms;
	uint64_t peer_rate; /* bytes a second; 0: no limit */
	uint64_t commit_interval_ms;
	uint64_t retention_ms;					       /* 0: for ever */
	uint64_t retention_bytes;				       /* 0: no limit */
	uint64_t rollup_minute_retention_ms, rollup_hour_retention_ms; /* 0: for ever */
	uint64_t detect_interval_ms, detect_delay_ms;
	uint64_t rate_floor, half_open, scan_ports, sweep_hosts;
};

#define SERVE_SUMMARY "receive from the probes, write the database, watch for incidents"

extern const struct cli_command serve_command;

/*
 * Runs the collector with settings that the options have filled. Returns the
 * exit status, after a line on stderr that says what is wrong unless it is 0.
 * Blocks SIGINT and SIGTERM in the calling thread, and leaves them so.
 */
int serve_run(const struct serve_settings *s);

#endif /* WEIR_COLLECTOR_SERVE_SERVE_H */

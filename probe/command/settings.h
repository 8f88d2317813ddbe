/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * settings.h - the options of weir-probe, on the command line and in its
 * configuration file (common/options.h).
 */
#ifndef WEIR_PROBE_COMMAND_SETTINGS_H
#define WEIR_PROBE_COMMAND_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/options.h"

struct settings {
	/* what is captured: all commands */
	struct option_list ifaces; /* never empty */
	int hook;		   /* enum hooks_mode */
	uint64_t max_flows;
	uint64_t active_ms;
	uint64_t idle_ms, tcp_idle_ms;
	uint64_t udp_idle_ms, icmp_idle_ms; /* 0: as idle_ms */
	int log_level;			    /* enum log_level */

	/* run */
	struct option_list collectors; /* none: those that this host has enrolled at */
	char *state_dir;
	char *name; /* NULL: the host's */
	uint64_t drain_ms;
	char *spool; /* NULL: not given; see settings_spool() */
	uint64_t spool_max;
	char *pin; /* see settings_pins() */
	char *config;
	bool check_config;

	/* show */
	bool once;
	uint64_t interval_ms;
	uint64_t rows; /* 0: as many as there are, or fit */
	int format;    /* enum output_format */

	/* cleanup, which has pin */
	bool all;

	/* check, which has format as well */
	uint64_t live_ms; /* 0: do not measure */
};

extern const struct command run_command, show_command, check_command, cleanup_command;

/*
 * As options_parse(), with what a table cannot check: the collector's address,
 * the host name, no arguments left. Sets the log level.
 */
int settings_parse(const struct command *cmd, int argc, char **argv, struct settings *ret);

/* The folder in bpffs for what outlives the probe; NULL: nothing shall. Borrowed. */
const char *settings_pins(const struct settings *s);

#define SETTINGS_SPOOL "/var/lib/weir-probe/spool.db"
#define SETTINGS_PIN   "/sys/fs/bpf/weir"

/* The file of the spool, or SPOOL_IN_MEMORY. Borrowed. */
const char *settings_spool(const struct settings *s);

void settings_free(const struct command *cmd, struct settings *s);

#endif /* WEIR_PROBE_COMMAND_SETTINGS_H */

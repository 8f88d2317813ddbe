/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sandbox.h - SQL that others wrote, run where it cannot do harm.
 *
 * The statement runs in a forked child with a connection of its own, which may
 * only read: an authorizer allows SELECT, reading and harmless functions; the
 * connection is defensive and read-only; SQLite's limits are near its
 * "high-security" ones. A progress handler alone is no bound (it is not called
 * within one function), so the kernel holds the rest: a timer, CPU time,
 * address space and file size of the child.
 *
 * Refused, in words on stderr: a second statement, anything that writes,
 * attaches, sets or loads.
 *
 * Threads: the caller has no other ones, and no database open (a connection
 * must not cross a fork).
 */
#ifndef WEIR_COLLECTOR_CLI_SANDBOX_H
#define WEIR_COLLECTOR_CLI_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/cli/answer.h"

#define SANDBOX_HEAP_BYTES    (64u << 20)  /* SQLite's memory */
#define SANDBOX_ADDRESS_BYTES (512u << 20) /* all memory of the child */
#define SANDBOX_FILE_BYTES    (1u << 30)   /* temporary files, and the answer in a file */

struct sandbox {
	const char *db;	     /* path of the database */
	uint64_t timeout_ms; /* at least 1 */
	uint64_t max_rows;   /* the answer is cut there, and stderr says so; 0: no bound */
	bool windowed;	     /* the table flows holds only records with end_ms in: */
	int64_t since_ms, until_ms;
	struct answer_style style;
};

/* Prints the answer to sql on stdout. Returns the exit status that fits (exit_code.h). */
int sandbox_run(const struct sandbox *sandbox, const char *sql);

#endif /* WEIR_COLLECTOR_CLI_SANDBOX_H */

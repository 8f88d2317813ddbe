/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * control.h - how a command changes a database that is being served.
 *
 * Only one connection of one process may write (db.h). So a command that
 * changes something asks the collector that serves, over the Unix socket
 * DB-control; where none serves it writes by itself. Only the collector's user
 * and root are heard.
 *
 * A request is words, each ending in NUL (admin.h), then the end of the
 * stream; the answer one byte with the exit status, then text.
 *
 * Threads: control_run() is one of its own.
 */
#ifndef WEIR_COLLECTOR_SERVE_CONTROL_H
#define WEIR_COLLECTOR_SERVE_CONTROL_H

#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>

#include "collector/serve/admin.h"

struct control;
struct queue;

/* What JOB_ADMIN carries; it is on the stack of control_run(), which waits for done. */
struct admin_request {
	size_t n;
	const char *words[ADMIN_MAX_WORDS];
	struct admin_reply reply;
	bool applied, committed;
	sem_t done;
};

/* The job of r is at its end. */
void control_finish(struct admin_request *r, bool committed);

/* Listens. jobs: borrowed until control_close(). Returns -errno. */
int control_open(const char *db_path, struct queue *jobs, struct control **ret);
void control_run(struct control *c, int stop_fd);
/* NULL is a no-op. */
void control_close(struct control *c);

/*
 * Asks the collector that serves the database or, if none does, writes itself.
 * Returns 0 with *ret filled, or an error of db.h with a text in *ret_why.
 */
int control_ask(const char *db_path, size_t n, const char *const *words, struct admin_reply *ret,
		const char **ret_why);

#endif /* WEIR_COLLECTOR_SERVE_CONTROL_H */

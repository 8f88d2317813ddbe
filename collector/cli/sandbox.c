// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/cli/sandbox.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collector/cli/heap.h"
#include "collector/sqlite/sql_functions.h"
#include "collector/store/db.h"
#include "collector/store/reader_lease.h"
#include "common/array_size.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"

DEFINE_CLEANUP(sqlite3 *, db_close)
DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

/* --- the child: limits ------------------------------------------------------- */

/* After timeout_ms SIGALRM ends the child, whatever it is doing. */
static int limit_process(uint64_t timeout_ms)
{
	rlim_t seconds = timeout_ms / 1000 + 2;
	const struct {
		__rlimit_resource_t what;
		rlim_t max;
	} limits[] = {
		{RLIMIT_CPU, seconds},
		{RLIMIT_FSIZE, SANDBOX_FILE_BYTES},
		{RLIMIT_CORE, 0},
#ifndef __SANITIZE_ADDRESS__ /* ASan maps terabytes of shadow */
		{RLIMIT_AS, SANDBOX_ADDRESS_BYTES},
#endif
	};
	struct itimerval timer = {
		.it_value = {(time_t)(timeout_ms / 1000), (suseconds_t)(timeout_ms % 1000 * 1000)},
	};

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		struct rlimit limit = {limits[i].max, limits[i].max};

		if (setrlimit(limits[i].what, &limit))
			return -errno;
	}
	if (signal(SIGALRM, SIG_DFL) == SIG_ERR || setitimer(ITIMER_REAL, &timer, NULL) ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL))
		return -errno;
	return 0;
}

/* Functions that reach out of the database; most exist only in the sqlite3 shell. */
static bool risky_function(const char *name)
{
	static const char *const risky[] = {"load_extension", "readfile", "writefile", "edit",
					    "fts3_tokenizer"};

	for (size_t i = 0; i < ARRAY_SIZE(risky); i++) {
		if (strcasecmp(name, risky[i]) == 0)
			return true;
	}
	return false;
}

static int authorize(void *arg, int action, const char *what, const char *detail,
		     const char *database, const char *source)
{
	(void)arg;
	(void)what;
	(void)database;
	(void)source;
	switch (action) {
	case SQLITE_SELECT:
	case SQLITE_READ:
	case SQLITE_RECURSIVE:
		return SQLITE_OK;
	case SQLITE_FUNCTION:
		return detail && risky_function(detail) ? SQLITE_DENY : SQLITE_OK;
	default:
		return SQLITE_DENY;
	}
}

static int restrict_connection(sqlite3 *db)
{
	static const struct {
		int what, max;
	} limits[] = {
		{SQLITE_LIMIT_LENGTH, 1000000},
		{SQLITE_LIMIT_SQL_LENGTH, 100000},
		{SQLITE_LIMIT_COLUMN, 200},
		{SQLITE_LIMIT_EXPR_DEPTH, 200},
		{SQLITE_LIMIT_COMPOUND_SELECT, 20},
		{SQLITE_LIMIT_VDBE_OP, 25000},
		{SQLITE_LIMIT_FUNCTION_ARG, 16},
		{SQLITE_LIMIT_ATTACHED, 0},
		{SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 200},
		{SQLITE_LIMIT_VARIABLE_NUMBER, 3}, /* the table flows has statements of its own */
		{SQLITE_LIMIT_TRIGGER_DEPTH, 1},
		{SQLITE_LIMIT_WORKER_THREADS, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		(void)sqlite3_limit(db, limits[i].what, limits[i].max); /* returns the old one */
	if (sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL) != SQLITE_OK ||
	    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL) != SQLITE_OK ||
	    sqlite3_set_authorizer(db, authorize, NULL) != SQLITE_OK)
		return -EIO;
	return 0;
}

/* A view of the same name that stands before the real one, for this connection. */
static int narrow_flows(sqlite3 *db, const struct sandbox *sandbox)
{
	char sql[160];

	if (!sandbox->windowed)
		return 0;
	(void)snprintf(sql, sizeof(sql),
		       "CREATE TEMP VIEW flows AS SELECT * FROM main.flows"
		       " WHERE end_ms >= %" PRIi64 " AND end_ms < %" PRIi64,
		       sandbox->since_ms, sandbox->until_ms);
	return db_errno(sqlite3_exec(db, sql, NULL, NULL, NULL));
}

static int open_restricted(const struct sandbox *sandbox, sqlite3 **ret)
{
	const char *why;
	int err;

	heap_begin();
	(void)sqlite3_hard_heap_limit64(SANDBOX_HEAP_BYTES); /* returns the old one */
	err = limit_process(sandbox->timeout_ms);
	if (!err)
		err = reader_lease_begin(sandbox->db, READER_LEASE_MS);
	if (err) {
		log_error("sql: cannot limit the query: %s", strerror(-err));
		return EXIT_RUNTIME;
	}
	err = db_open_reader(sandbox->db, ret, &why);
	if (err) {
		log_error("%s: %s", sandbox->db, why);
		return db_exit_code(err);
	}
	err = sql_functions_register(*ret);
	if (!err)
		err = narrow_flows(*ret, sandbox);
	if (!err)
		err = restrict_connection(*ret);
	if (err) {
		log_error("sql: cannot restrict the query: %s", strerror(-err));
		return EXIT_RUNTIME;
	}
	return EXIT_OK;
}

/* --- the child: the statement ------------------------------------------------ */

static int refuse(sqlite3 *db)
{
	log_error("sql: %s", sqlite3_errmsg(db));
	return EXIT_USAGE;
}

/* The one statement of sql. Blanks and comments may follow it, nothing else. */
static int prepare_one(sqlite3 *db, const char *sql, sqlite3_stmt **ret)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *second = NULL;
	const char *tail;

	if (sqlite3_prepare_v2(db, sql, -1, ret, &tail) != SQLITE_OK)
		return refuse(db);
	if (!*ret) {
		log_error("sql: there is no statement");
		return EXIT_USAGE;
	}
	while (*tail) {
		if (sqlite3_prepare_v2(db, tail, -1, &second, &tail) != SQLITE_OK || second) {
			log_error("sql: one statement at a time");
			return EXIT_USAGE;
		}
	}
	if (sqlite3_bind_parameter_count(*ret) > 0) {
		log_error("sql: there are no values for parameters");
		return EXIT_USAGE;
	}
	if (!sqlite3_stmt_readonly(*ret)) {
		log_error("sql: only statements that read");
		return EXIT_USAGE;
	}
	return EXIT_OK;
}

static int explain_failure(sqlite3 *db, int err)
{
	if (err == -EPIPE)
		return EXIT_OK;
	if (err == -ENOMEM) {
		log_error("sql: the query needs more memory than it may have:"
			  " %u MiB within SQLite, %u MiB in all",
			  SANDBOX_HEAP_BYTES >> 20, SANDBOX_ADDRESS_BYTES >> 20);
		return EXIT_RUNTIME;
	}
	if (sqlite3_errcode(db) == SQLITE_DONE || sqlite3_errcode(db) == SQLITE_ROW)
		log_error("sql: cannot write the answer: %s", strerror(-err));
	else
		log_error("sql: %s", sqlite3_errmsg(db));
	return EXIT_RUNTIME;
}

static int run_child(const struct sandbox *sandbox, const char *sql)
{
	cleanup(db_close_p) sqlite3 *db = NULL;
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	bool more;
	int code, err;

	code = open_restricted(sandbox, &db);
	if (!code)
		code = prepare_one(db, sql, &st);
	if (code)
		return code;
	err = answer_print(st, NULL, &sandbox->style, sandbox->max_rows, &more);
	if (err)
		return explain_failure(db, err);
	if (more)
		log_warn("only the first %" PRIu64 " rows are shown (--limit)", sandbox->max_rows);
	return EXIT_OK;
}

/* --- the parent -------------------------------------------------------------- */

static int explain_signal(const struct sandbox *sandbox, int signal)
{
	switch (signal) {
	case SIGPIPE:
		return EXIT_OK;
	case SIGALRM:
	case SIGXCPU:
		log_error("sql: stopped after %" PRIu64 " ms (--timeout)", sandbox->timeout_ms);
		return EXIT_RUNTIME;
	case SIGXFSZ:
		log_error("sql: the query needs more than %u MiB of disk",
			  SANDBOX_FILE_BYTES >> 20);
		return EXIT_RUNTIME;
	default:
		log_error("sql: the query ended by signal %d (%s)", signal, strsignal(signal));
		return EXIT_RUNTIME;
	}
}

int sandbox_run(const struct sandbox *sandbox, const char *sql)
{
	int status;
	pid_t pid;

	(void)fflush(stdout); /* what is buffered must not come out twice */
	pid = fork();
	if (pid < 0) {
		log_error("sql: cannot fork: %s", strerror(errno));
		return EXIT_RUNTIME;
	}
	if (pid == 0) {
		int code = run_child(sandbox, sql);

		(void)fflush(stdout);
		_exit(code);
	}
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR) {
			log_error("sql: cannot wait for the query: %s", strerror(errno));
			return EXIT_RUNTIME;
		}
	}
	return WIFSIGNALED(status) ? explain_signal(sandbox, WTERMSIG(status))
				   : WEXITSTATUS(status);
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/command/order.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/serve/control.h"
#include "collector/serve/orders.h"
#include "collector/store/db.h"
#include "common/array_size.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/exit_code.h"
#include "common/log.h"
#include "common/output.h"

#define POLL_US 100000

struct order_settings {
	struct cli_settings cli;
	char *prefix, *reason;
	uint64_t ttl_ms;
};

DEFINE_CLEANUP(sqlite3 *, db_close)
DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

static void who(char ret[64])
{
	const struct passwd *user = getpwuid(getuid());

	if (user)
		(void)snprintf(ret, 64, "%s", user->pw_name);
	else
		(void)snprintf(ret, 64, "uid %u", (unsigned)getuid());
}

/* Gives the order; its number in *ret_id. */
static int give(const struct order_settings *s, char **argv, int64_t *ret_id)
{
	const char *path = cli_db_path(&s->cli), *why = "";
	char ttl[24], actor[64];
	const char *words[] = {"order", argv[0],
			       argv[1], s->prefix ? s->prefix : "",
			       ttl,	s->reason ? s->reason : "",
			       actor};
	struct admin_reply reply;
	int err;

	who(actor);
	(void)snprintf(ttl, sizeof(ttl), "%" PRIu64, s->ttl_ms / 1000);
	err = control_ask(path, ARRAY_SIZE(words), words, &reply, &why);
	if (err) {
		log_error("%s: %s", path, why);
		return db_exit_code(err);
	}
	if (reply.exit_code)
		log_error("%s", reply.text);
	else
		*ret_id = strtoll(reply.text, NULL, 10);
	return reply.exit_code;
}

/* 1 and the result printed, 0: there is none yet, or an error of db.h. */
static int print_result(sqlite3 *db, int64_t id, int *ret_code)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db,
				    "SELECT status, result FROM probe_order"
				    " WHERE id = ? AND status IS NOT NULL",
				    -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(st, 1, id);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_DONE)
		return 0;
	if (rc != SQLITE_ROW)
		return db_last_errno(db);
	*ret_code = sqlite3_column_int(st, 0) ? EXIT_CHECK : EXIT_OK;
	printf("order %" PRId64 ": %s%s", id, *ret_code ? "refused: " : "done: ",
	       *ret_code ? strerror(sqlite3_column_int(st, 0)) : "");
	fputs(*ret_code ? ", " : "", stdout);
	output_escaped(stdout, (const char *)sqlite3_column_text(st, 1),
		       (size_t)sqlite3_column_bytes(st, 1));
	(void)putchar('\n'); /* a reader that has gone does not undo it */
	return 1;
}

static int run(const void *settings, int argc, char **argv)
{
	const struct order_settings *s = settings;
	cleanup(db_close_p) sqlite3 *db = NULL;
	uint64_t give_up_ns = clock_mono_ns() + s->ttl_ms * NS_PER_MS;
	int code, found = 0;
	int64_t id = 0;

	if (argc != 2) {
		log_error("order needs HOST and what: " ORDERS_KINDS);
		return EXIT_USAGE;
	}
	code = give(s, argv, &id);
	if (!code)
		code = cli_open(&s->cli, &db);
	if (code)
		return code;
	while (found == 0 && clock_mono_ns() < give_up_ns) {
		found = print_result(db, id, &code);
		if (found == 0)
			(void)usleep(POLL_US);
	}
	if (found > 0)
		return code;
	if (found < 0)
		return cli_fail(db, found);
	log_error("order %" PRId64 ": no answer of %s in time; it is not carried out later", id,
		  argv[0]);
	return EXIT_RUNTIME;
}

static const struct option_row rows[] = {
	{.name = "prefix",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct order_settings, prefix),
	 .arg = "ADDRESS[/BITS]",
	 .help = "what it is about",
	 .cli_only = true},
	{.name = "reason",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct order_settings, reason),
	 .arg = "TEXT",
	 .help = "kept with it",
	 .cli_only = true},
	{.name = "ttl",
	 .type = OPTION_DURATION_MS,
	 .offset = offsetof(struct order_settings, ttl_ms),
	 .arg = "TIME",
	 .fallback = "30s",
	 .min = 1000,
	 .max = 86400000,
	 .help = "the probe does not begin it later; so long the answer is waited for",
	 .cli_only = true},
};

const struct cli_command order_command = {
	.command =
		{
			.name = "order",
			.args = "HOST " ORDERS_KINDS,
			.summary = "tell the probe of a host to do something, and what came of it",
			.examples =
				"  order web01 echo --reason 'are you there?'\n"
				"A probe carries out each order once. This version answers echo; "
				"it "
				"cannot block yet\nand refuses that. The table probe_order keeps "
				"all of them.\n",
			.tables = {{rows, ARRAY_SIZE(rows)}, {cli_rows, CLI_N_ROWS}},
		},
	.settings_size = sizeof(struct order_settings),
	.run = run,
};

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/command/enroll.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "collector/serve/control.h"
#include "collector/serve/own_key.h"
#include "collector/serve/store.h"
#include "collector/sqlite/query.h"
#include "collector/store/db.h"
#include "common/array_size.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/exit_code.h"
#include "common/key.h"
#include "common/log.h"
#include "common/private_file.h"
#include "proto/join.h"

#define DEFAULT_PORT	    7441
#define DEFAULT_ENROLL_PORT 7442

DEFINE_CLEANUP(sqlite3 *, db_close)
DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)
DEFINE_CLEANUP(struct store *, store_close)

static int request(const struct cli_settings *s, size_t n, const char *const *words,
		   struct admin_reply *ret)
{
	const char *path = cli_db_path(s), *why = "";
	int err = control_ask(path, n, words, ret, &why);

	if (err) {
		log_error("%s: %s", path, why);
		return db_exit_code(err);
	}
	if (ret->exit_code)
		log_error("%s", ret->text);
	return ret->exit_code;
}

int enroll_ask(const struct cli_settings *s, size_t n, const char *const *words)
{
	struct admin_reply reply;
	int code = request(s, n, words, &reply);

	if (code)
		return code;
	output_escaped(stdout, reply.text, strlen(reply.text));
	(void)putchar('\n'); /* a reader that has gone does not undo it */
	return EXIT_OK;
}

static int need_words(const struct cli_command *c, int argc, int wanted)
{
	if (argc == wanted)
		return EXIT_OK;
	log_error("%s %s needs %s", CLI_PROGRAM, c->command.name, c->command.args);
	return EXIT_USAGE;
}

static int answer(const struct cli_settings *s, const char *sql, const enum output_unit *units)
{
	struct cli_settings quiet = *s;
	cleanup(query_done) struct query q;
	cleanup(db_close_p) sqlite3 *db = NULL;
	int code;

	query_init(&q);
	(void)query_bind_int(&q, (int64_t)(clock_real_ns() / NS_PER_MS)); /* ?1 */
	query_add(&q, "%s", sql);
	quiet.quiet = true; /* no window, no traffic */
	code = cli_open(s, &db);
	return code ? code : cli_answer(&quiet, db, &q, units);
}

/* --- init ------------------------------------------------------------------------------ */

static int make_folder(const char *db_path)
{
	const char *slash = strrchr(db_path, '/');
	char folder[PATH_MAX];
	int err;

	if (!slash || slash == db_path)
		return EXIT_OK;
	(void)snprintf(folder, sizeof(folder), "%.*s", (int)(slash - db_path), db_path);
	err = private_folder_make(folder);
	if (!err)
		return EXIT_OK;
	log_error("%s: %s", folder, strerror(-err));
	return err == -EACCES ? EXIT_PERMISSION : EXIT_RUNTIME;
}

static int run_init(const void *settings, int argc, char **argv)
{
	const struct cli_settings *s = settings;
	cleanup(store_close_p) struct store *store = NULL;
	const char *path = cli_db_path(s), *why = "";
	char fingerprint[KEY_FINGERPRINT_BYTES];
	struct key_pair key = {0};
	bool is_new = false;
	int code, err;

	(void)argv;
	(void)argc; /* takes no arguments */
	(void)umask(027);
	code = make_folder(path);
	if (!code)
		code = own_key_get(path, &key, &is_new);
	if (code)
		return code;
	err = store_open(path, &store, &why);
	if (err && (err != -EBUSY || is_new)) { /* served, so all is there */
		log_error("%s: %s", path, why);
		return db_exit_code(err);
	}
	if (!err)
		code = own_key_keep(path, &key, is_new, store);
	key_fingerprint(key.public_key, fingerprint);
	key_forget(&key);
	if (!code)
		printf("database %s, key of this collector %s\n", path, fingerprint);
	return code;
}

const struct cli_command init_command = {
	.command =
		{
			.name = "init",
			.summary = "make the folder, the database and the key of this collector",
			.examples = "What is there already stays as it is.\n",
			.tables = {{cli_rows, CLI_N_ROWS}},
		},
	.settings_size = sizeof(struct cli_settings),
	.run = run_init,
};

/* --- tokens ------------------------------------------------------------------------------ */

struct token_settings {
	struct cli_settings cli;
	uint64_t ttl_ms, uses;
	bool manual;
	char *address;
	uint64_t port, enroll_port; /* 0: as served */
};

#define AT(field) .offset = offsetof(struct token_settings, field)

static const struct option_row token_rows[] = {
	{.name = "ttl",
	 .type = OPTION_DURATION_MS,
	 AT(ttl_ms),
	 .arg = "TIME",
	 .fallback = "1h",
	 .min = 1,
	 .max = 3153600e6,
	 .help = "how long it is good",
	 .cli_only = true},
	{.name = "uses",
	 .type = OPTION_U64,
	 AT(uses),
	 .arg = "N",
	 .fallback = "1",
	 .min = 1,
	 .max = 1e6,
	 .help = "for how many hosts",
	 .cli_only = true},
	{.name = "approve",
	 .type = OPTION_FLAG,
	 AT(manual),
	 .help = "who comes with it waits for 'enroll approve'",
	 .cli_only = true},
	{.name = "address",
	 .type = OPTION_STRING,
	 AT(address),
	 .arg = "HOST",
	 .help = "where hosts reach this collector (default: where it listens)",
	 .cli_only = true},
	{.name = "port",
	 .type = OPTION_U64,
	 AT(port),
	 .arg = "N",
	 .min = 0,
	 .max = 65535,
	 .help = "... and its port for records",
	 .cli_only = true},
	{.name = "enroll-port",
	 .type = OPTION_U64,
	 AT(enroll_port),
	 .arg = "N",
	 .min = 0,
	 .max = 65535,
	 .help = "... and its port for enrolment",
	 .cli_only = true},
};

/* "tcp://HOST:PORT" as libzmq prints it; brackets go. */
static uint16_t split_url(const char *url, char ret_host[JOIN_HOST_MAX + 1])
{
	static const char scheme[] = "tcp://";
	const char *host, *colon = url ? strrchr(url, ':') : NULL;
	size_t len;

	if (!colon || strncmp(url, scheme, sizeof(scheme) - 1) != 0)
		return 0;
	host = url + sizeof(scheme) - 1;
	len = (size_t)(colon - host);
	if (len >= 2 && *host == '[') {
		host++;
		len -= 2;
	}
	if (len > JOIN_HOST_MAX)
		return 0;
	(void)snprintf(ret_host, JOIN_HOST_MAX + 1, "%.*s", (int)len, host);
	return (uint16_t)strtoul(colon + 1, NULL, 10);
}

static bool is_wildcard(const char *host)
{
	return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0 || strcmp(host, "*") == 0;
}

/* All of a join string but its secret. */
static int get_join(const struct token_settings *s, struct join *ret)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	cleanup(db_close_p) sqlite3 *db = NULL;
	char host[JOIN_HOST_MAX + 1] = "";
	int code = cli_open(&s->cli, &db), rc;

	if (code)
		return code;
	rc = sqlite3_prepare_v2(db, "SELECT public_key, listen, enroll_listen FROM collector", -1,
				&st, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc != SQLITE_ROW) {
		log_error("this collector has no key yet: %s init", CLI_PROGRAM);
		return EXIT_RUNTIME;
	}
	memcpy(ret->server_key, sqlite3_column_blob(st, 0), JOIN_KEY_BYTES);
	ret->port = split_url((const char *)sqlite3_column_text(st, 1), host);
	memcpy(ret->host, host, sizeof(ret->host));
	ret->enroll_port = split_url((const char *)sqlite3_column_text(st, 2), host);
	return EXIT_OK;
}

static int get_address(const struct token_settings *s, struct join *join)
{
	if (s->address)
		(void)snprintf(join->host, sizeof(join->host), "%s", s->address);
	if (s->port || !join->port)
		join->port = (uint16_t)(s->port ? s->port : DEFAULT_PORT);
	if (s->enroll_port || !join->enroll_port)
		join->enroll_port =
			(uint16_t)(s->enroll_port ? s->enroll_port : DEFAULT_ENROLL_PORT);
	if (!join->host[0] || (!s->address && is_wildcard(join->host))) {
		log_error(
			"--address is needed: under which address do hosts reach this collector?");
		return EXIT_USAGE;
	}
	return EXIT_OK;
}

static int run_create(const void *settings, int argc, char **argv)
{
	const struct token_settings *s = settings;
	char ttl[24], uses[24], text[JOIN_TEXT_MAX];
	const char *const words[] = {"token-create", ttl, uses, s->manual ? "1" : "0"};
	struct admin_reply reply;
	struct join join = {0};
	int code;

	(void)argv;
	(void)argc; /* takes no arguments */
	code = get_join(s, &join);
	if (!code)
		code = get_address(s, &join);
	if (!code && join_format(&join, text) != 0) {
		log_error("\"%s\" is no address", join.host);
		code = EXIT_USAGE;
	}
	if (code)
		return code;
	(void)snprintf(ttl, sizeof(ttl), "%" PRIu64, s->ttl_ms);
	(void)snprintf(uses, sizeof(uses), "%" PRIu64, s->uses);
	code = request(&s->cli, ARRAY_SIZE(words), words, &reply);
	if (code)
		return code;
	if (sodium_hex2bin(join.secret, sizeof(join.secret), reply.text, strlen(reply.text), NULL,
			   NULL, NULL) != 0 ||
	    join_format(&join, text) != 0) {
		log_error("the collector's answer makes no sense");
		return EXIT_RUNTIME;
	}
	puts(text);
	if (!s->cli.quiet)
		log_info("good for %" PRIu64 " host%s; there, as root: weir-probe enroll "
			 "JOINSTRING",
			 s->uses, s->uses == 1 ? "" : "s");
	return EXIT_OK;
}

static const struct cli_command create_command = {
	.command =
		{
			.name = "enroll token create",
			.summary = "print a join string, with which hosts are let in",
			.examples = "  weir-collector enroll token create --uses 50 --ttl 1d\n",
			.tables = {{token_rows, ARRAY_SIZE(token_rows)}, {cli_rows, CLI_N_ROWS}},
		},
	.settings_size = sizeof(struct token_settings),
	.run = run_create,
};

static int run_list(const void *settings, int argc, char **argv)
{
	static const enum output_unit units[] = {UNIT_NONE, UNIT_NONE,	  UNIT_NONE,
						 UNIT_NONE, UNIT_TIME_MS, UNIT_TIME_MS};

	(void)argc; /* takes no arguments */
	(void)argv;
	return answer(settings,
		      "SELECT id, CASE WHEN revoked_ms IS NOT NULL THEN 'revoked'"
		      "  WHEN expires_ms <= ?1 THEN 'expired' WHEN uses >= max_uses THEN 'used up'"
		      "  WHEN manual THEN 'good, with approval' ELSE 'good' END AS state,"
		      " uses, max_uses, created_ms, expires_ms FROM token ORDER BY id",
		      units);
}

static const struct cli_command list_command = {
	.command = {.name = "enroll token list",
		    .summary = "the join strings there are, and what is left of them",
		    .tables = {{cli_rows, CLI_N_ROWS}}},
	.settings_size = sizeof(struct cli_settings),
	.run = run_list,
};

static int run_token_revoke(const void *settings, int argc, char **argv);

static const struct cli_command token_revoke_command = {
	.command = {.name = "enroll token revoke",
		    .args = "ID",
		    .summary = "make a join string useless; hosts that came with it stay",
		    .tables = {{cli_rows, CLI_N_ROWS}}},
	.settings_size = sizeof(struct cli_settings),
	.run = run_token_revoke,
};

static int run_token_revoke(const void *settings, int argc, char **argv)
{
	const char *const words[] = {"token-revoke", argc ? argv[0] : NULL};
	int code = need_words(&token_revoke_command, argc, 1);

	return code ? code : enroll_ask(settings, 2, words);
}

static const struct cli_command *const token_commands[] = {&create_command, &list_command,
							   &token_revoke_command};

static const struct cli_command token_command = {
	.command = {.name = "enroll token", .summary = "join strings: create, list, revoke"},
	.subcommands = token_commands,
	.n_subcommands = ARRAY_SIZE(token_commands),
};

/* --- hosts that ask ------------------------------------------------------------------------ */

static int run_pending(const void *settings, int argc, char **argv)
{
	static const enum output_unit units[] = {UNIT_NONE, UNIT_NONE, UNIT_NONE, UNIT_TIME_MS};

	(void)argc; /* takes no arguments */
	(void)argv;
	return answer(settings,
		      "SELECT name AS host, fingerprint AS key, address, asked_ms FROM host_key"
		      " WHERE state = 'pending' AND ?1 ORDER BY asked_ms",
		      units);
}

static const struct cli_command pending_command = {
	.command = {.name = "enroll pending",
		    .summary = "hosts that wait to be let in",
		    .tables = {{cli_rows, CLI_N_ROWS}}},
	.settings_size = sizeof(struct cli_settings),
	.run = run_pending,
};

static int run_approve(const void *settings, int argc, char **argv);
static int run_reject(const void *settings, int argc, char **argv);
static int run_add(const void *settings, int argc, char **argv);

static const struct cli_command approve_command = {
	.command = {.name = "enroll approve",
		    .args = "HOST",
		    .summary = "let a host in that waits",
		    .examples = "HOST: its name, or how the fingerprint of its key begins.\n",
		    .tables = {{cli_rows, CLI_N_ROWS}}},
	.settings_size = sizeof(struct cli_settings),
	.run = run_approve,
};

static const struct cli_command reject_command = {
	.command = {.name = "enroll reject",
		    .args = "HOST",
		    .summary = "send a host away that waits",
		    .tables = {{cli_rows, CLI_N_ROWS}}},
	.settings_size = sizeof(struct cli_settings),
	.run = run_reject,
};

static const struct cli_command add_command = {
	.command = {.name = "enroll add",
		    .args = "NAME KEY",
		    .summary = "let a host in whose key you have, without its asking",
		    .examples = "'weir-probe enroll --offline JOINSTRING' prints NAME and KEY.\n",
		    .tables = {{cli_rows, CLI_N_ROWS}}},
	.settings_size = sizeof(struct cli_settings),
	.run = run_add,
};

static int run_approve(const void *settings, int argc, char **argv)
{
	const char *const words[] = {"approve", argc ? argv[0] : NULL};
	int code = need_words(&approve_command, argc, 1);

	return code ? code : enroll_ask(settings, 2, words);
}

static int run_reject(const void *settings, int argc, char **argv)
{
	const char *const words[] = {"reject", argc ? argv[0] : NULL};
	int code = need_words(&reject_command, argc, 1);

	return code ? code : enroll_ask(settings, 2, words);
}

static int run_add(const void *settings, int argc, char **argv)
{
	const char *const words[] = {"add", argc ? argv[0] : NULL, argc > 1 ? argv[1] : NULL};
	int code = need_words(&add_command, argc, 2);

	return code ? code : enroll_ask(settings, 3, words);
}

static const struct cli_command *const enroll_commands[] = {
	&token_command, &pending_command, &approve_command, &reject_command, &add_command};

const struct cli_command enroll_command = {
	.command = {.name = "enroll",
		    .summary = "let hosts in: join strings, and hosts that wait",
		    .examples = "  weir-collector enroll token create\n"
				"  weir-collector enroll pending\n"},
	.subcommands = enroll_commands,
	.n_subcommands = ARRAY_SIZE(enroll_commands),
};

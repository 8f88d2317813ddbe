// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/db/db_command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "collector/db/ipfix.h"
#include "collector/sqlite/query.h"
#include "collector/store/db.h"
#include "common/addr.h"
#include "common/array_size.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/exit_code.h"
#include "common/log.h"
#include "common/progress.h"
#include "proto/flow_words.h"

DEFINE_CLEANUP(sqlite3 *, db_close)
DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)
DEFINE_CLEANUP(struct ipfix *, ipfix_free)

struct export_settings {
	struct cli_settings cli; /* first: the shared rows count on it */
	int as;			 /* enum export_format */
};

enum export_format { EXPORT_CSV, EXPORT_NDJSON, EXPORT_IPFIX };

/* --- IPFIX ----------------------------------------------------------------------- */

/* The columns that IPFIX has elements for, in the order of read_row(). */
static const char ipfix_columns[] =
	"host_id, start_ms, duration_us, src_addr, dst_addr, src_port, dst_port, proto, icmp_type,"
	" icmp_code, vlan, iface, direction, end_reason, packets, bytes, rev_packets, rev_bytes,"
	" total_packets, total_bytes, rev_total_packets, rev_total_bytes, tcp_flags, rev_tcp_flags,"
	" flow_id";

static uint8_t code_of(enum flow_column c, const char *word)
{
	uint32_t code;

	return flow_word_code(c, word, &code) ? (uint8_t)code : 0;
}

/* Reads one column after another. NULL is 0 and "". */
struct reader {
	sqlite3_stmt *st;
	int at;
};

static uint64_t number(struct reader *r)
{
	return (uint64_t)sqlite3_column_int64(r->st, r->at++);
}

static const char *text(struct reader *r)
{
	const char *value = (const char *)sqlite3_column_text(r->st, r->at++);

	return value ? value : "";
}

static uint32_t read_row(sqlite3_stmt *st, struct flow_record *ret)
{
	struct flow_record f = {0};
	struct reader r = {.st = st};
	uint32_t host_id = (uint32_t)number(&r);

	f.start_ns = number(&r) * NS_PER_MS;
	f.end_ns = f.start_ns + number(&r) * NS_PER_US;
	(void)addr_parse(text(&r), f.src_addr); /* what is none stays :: */
	(void)addr_parse(text(&r), f.dst_addr);
	f.src_port = (uint16_t)number(&r);
	f.dst_port = (uint16_t)number(&r);
	f.proto = (uint8_t)number(&r);
	f.icmp_type = (uint8_t)number(&r);
	f.icmp_code = (uint8_t)number(&r);
	f.vlan = (uint16_t)number(&r);
	(void)snprintf(f.iface, sizeof(f.iface), "%s", text(&r));
	f.direction = code_of(FLOW_COLUMN_direction, text(&r));
	f.end_reason = code_of(FLOW_COLUMN_end_reason, text(&r));
	f.packets = number(&r);
	f.bytes = number(&r);
	f.rev_packets = number(&r);
	f.rev_bytes = number(&r);
	f.total_packets = number(&r);
	f.total_bytes = number(&r);
	f.rev_total_packets = number(&r);
	f.rev_total_bytes = number(&r);
	f.tcp_flags = (uint16_t)number(&r);
	f.rev_tcp_flags = (uint16_t)number(&r);
	f.flow_id = number(&r);
	*ret = f;
	return host_id;
}

static int write_ipfix(sqlite3_stmt *st)
{
	cleanup(ipfix_free_p) struct ipfix *x = NULL;
	struct progress bar = progress_begin("records", false);
	uint64_t n = 0;
	int rc = SQLITE_ROW, err = ipfix_new(stdout, &x);

	while (!err && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		struct flow_record record;
		uint32_t host_id = read_row(st, &record);

		err = ipfix_add(x, host_id, &record);
		progress_show(&bar, ++n, 0);
	}
	progress_end(&bar);
	if (!err && rc != SQLITE_DONE)
		return db_errno(rc);
	return err ? err : ipfix_finish(x);
}

/* --- the command ------------------------------------------------------------------- */

static int write_records(const struct export_settings *s, sqlite3_stmt *st)
{
	const struct answer_style style = {
		.format = s->as == EXPORT_CSV ? OUTPUT_CSV : OUTPUT_NDJSON,
	};

	return s->as == EXPORT_IPFIX ? write_ipfix(st) : answer_print(st, NULL, &style, 0, NULL);
}

static int run(const void *settings, int argc, char **argv)
{
	const struct export_settings *s = settings;
	cleanup(query_done) struct query q;
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	cleanup(db_close_p) sqlite3 *db = NULL;
	int code, err;

	query_init(&q);
	if (s->as == EXPORT_IPFIX && isatty(STDOUT_FILENO)) {
		log_error("db export: IPFIX is nothing for a terminal; send it to a file");
		return EXIT_USAGE;
	}
	query_add(&q, "SELECT %s FROM flows WHERE 1", s->as == EXPORT_IPFIX ? ipfix_columns : "*");
	cli_add_window(&q, &s->cli);
	code = cli_add_filter(&q, argc, argv);
	if (!code)
		code = cli_open(&s->cli, &db);
	if (code)
		return code;
	err = query_prepare(&q, db, &st);
	if (!err)
		err = write_records(s, st);
	return err ? cli_fail(db, err) : EXIT_OK;
}

static const struct option_row rows[] = {
	{.name = "as",
	 .type = OPTION_CHOICE,
	 .offset = offsetof(struct export_settings, as),
	 .arg = "FORMAT",
	 .choices = "csv|ndjson|ipfix",
	 .fallback = "csv",
	 .help = "how to write the records",
	 .cli_only = true},
	CLI_SINCE_ROW(NULL),
	CLI_UNTIL_ROW,
};

const struct cli_command db_export_command = {
	.command =
		{
			.name = "db export",
			.args = "[FILTER...]",
			.summary = "flow records to stdout, as CSV, NDJSON or an IPFIX file",
			.examples =
				"db export --since 1d > day.csv\n"
				"db export --as ipfix host web1 > web1.ipfix\n"
				"\n"
				"CSV and NDJSON have every column of flows; IPFIX has those that "
				"it knows.\n",
			.tables = {{rows, ARRAY_SIZE(rows)}, {cli_rows, CLI_N_ROWS}},
		},
	.settings_size = sizeof(struct export_settings),
	.run = run,
};

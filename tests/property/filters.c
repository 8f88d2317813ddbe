// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* filters.c - random filters: the other half of queries.h. */
#include <string.h>

#include "common/array_size.h"
#include "proto/flow_columns.h"
#include "proto/flow_words.h"
#include "tests/property/choices.h"
#include "tests/property/conditions.h"
#include "tests/property/queries.h"
#include "tests/property/row_table.h"

#define DEPTH	 3
#define MAX_LIST 4

static const char *pick_word(struct choices *c, const char *const *words, size_t n)
{
	return words[choose(c, (uint32_t)n)];
}
#define PICK(c, words) pick_word(c, words, ARRAY_SIZE(words))

#define NAME(name, max, has) #name,
static const char *const numbers[] = {FLOW_COUNTERS(NAME) FLOW_NUMBERS(NAME) "ip_version",
				      "start_ms", "end_ms", "host_id", "duration_us"};
static const char *const texts[] = {FLOW_TEXTS(NAME) FLOW_CODES(NAME)
					    FLOW_DNS_CODES(NAME) "community_id"};
#undef NAME
static const char *const plain[] = {"tcp", "udp", "icmp", "icmp6", "sctp", "ip", "ip6"};
static const char *const sides[] = {"", "src ", "dst ", "src or dst ", "src and dst "};
static const char *const ops[] = {"=", "!=", "<", "<=", ">", ">="};

static size_t column_number(const char *name)
{
	size_t n, i = 0;
	const struct flows_column *columns = flows_columns(&n);

	while (i + 1 < n && strcmp(columns[i].name, name) != 0)
		i++;
	return i;
}

/* The value of a column in a row, without the quotes of SQL; instead for NULL and "". */
static void write_known(struct writing *w, const char *column, const char *instead)
{
	size_t rows = row_table_rows(w->values);
	const char *value = "NULL";

	if (rows)
		value = row_table_value(w->values, column_number(column),
					choose(w->c, (uint32_t)rows));
	if (strcmp(value, "NULL") == 0 || strcmp(value, "''") == 0)
		sqlite3_str_appendall(w->sql, instead);
	else if (*value == '\'')
		sqlite3_str_appendf(w->sql, "%.*s", (int)strlen(value) - 2, value + 1);
	else
		sqlite3_str_appendall(w->sql, value);
}

/* One value, or a list of them, by write(). */
static void write_values(struct writing *w, void (*write)(struct writing *w, const char *what),
			 const char *what)
{
	uint32_t n = choose_rarely(w->c, 4) ? 1 + choose(w->c, MAX_LIST) : 0;

	if (n == 0) {
		write(w, what);
		return;
	}
	sqlite3_str_appendall(w->sql, "in [");
	for (uint32_t i = 0; i < n; i++) {
		sqlite3_str_appendall(w->sql, i ? ", " : "");
		write(w, what);
	}
	sqlite3_str_appendall(w->sql, "]");
}

static void write_addr(struct writing *w, const char *column)
{
	write_known(w, column, "10.0.0.1");
}

static void write_net(struct writing *w, const char *column)
{
	sqlite3_str *whole = w->sql;
	char *addr;

	w->sql = sqlite3_str_new(NULL);
	write_addr(w, column);
	addr = sqlite3_str_finish(w->sql);
	w->sql = whole;
	sqlite3_str_appendf(w->sql, "%s/%u", addr, choose(w->c, strchr(addr, ':') ? 129 : 33));
	sqlite3_free(addr);
}

static void write_port(struct writing *w, const char *column)
{
	uint32_t low = choose(w->c, 65536);

	if (choose_rarely(w->c, 4))
		sqlite3_str_appendf(w->sql, "%u-%u", low, low + choose(w->c, 65536 - low));
	else
		write_known(w, column, "443");
}

/* One that a column of few words takes. */
static const char *word_for(const char *column)
{
	static const struct {
		const char *column, *word;
	} words[] = {
		{"tunnel", "vxlan"}, {"verdict", "refused"},   {"end_reason", "idle"},
		{"role", "unknown"}, {"direction", "unknown"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(words[i].column, column) == 0)
			return words[i].word;
	return "none";
}

/* Words are written bare, texts in quotes, as they may have blanks. */
static void write_text_value(struct writing *w, const char *column)
{
	int kept = flow_column_find(column);
	bool word = kept >= 0 && flow_words_of((enum flow_column)kept);

	sqlite3_str_appendall(w->sql, word ? "" : "\"");
	write_known(w, column, word_for(column));
	sqlite3_str_appendall(w->sql, word ? "" : "\"");
}

static void write_number_value(struct writing *w, const char *column)
{
	if (choose_rarely(w->c, 4))
		sqlite3_str_appendf(w->sql, "%u", choose(w->c, 256)); /* proto takes no more */
	else
		write_known(w, column, "0");
}

static void write_flags(struct writing *w)
{
	static const char letters[] = "FSRPAUECN";
	uint32_t n = 1 + choose(w->c, 3);

	sqlite3_str_appendall(w->sql, "flags ");
	for (uint32_t i = 0; i < n; i++)
		sqlite3_str_appendf(w->sql, "%c", letters[choose(w->c, sizeof(letters) - 1)]);
}

static void write_term(struct writing *w)
{
	uint32_t kind = choose(w->c, 12);
	const char *column;

	if (kind >= 2 && kind <= 7)
		sqlite3_str_appendall(w->sql, PICK(w->c, sides));
	switch (kind) {
	case 0:
		sqlite3_str_appendall(w->sql, PICK(w->c, plain));
		break;
	case 1:
		sqlite3_str_appendall(w->sql, "host ");
		write_known(w, "host", "nobody");
		break;
	case 2:
		sqlite3_str_appendall(w->sql, "ip ");
		write_values(w, write_addr, "src_addr");
		break;
	case 3:
	case 4:
		sqlite3_str_appendall(w->sql, "net ");
		write_values(w, write_net, kind == 3 ? "src_addr" : "dst_addr");
		break;
	case 5:
		sqlite3_str_appendall(w->sql, "port ");
		write_values(w, write_port, "dst_port");
		break;
	case 6:
		sqlite3_str_appendf(w->sql, "port %s ", PICK(w->c, ops));
		write_known(w, "src_port", "80");
		break;
	case 7:
		write_flags(w);
		break;
	case 8:
		column = PICK(w->c, texts);
		sqlite3_str_appendf(w->sql, "%s ", column);
		write_values(w, write_text_value, column);
		break;
	case 9:
		column = PICK(w->c, numbers);
		sqlite3_str_appendf(w->sql, "%s ", column);
		write_values(w, write_number_value, column);
		break;
	default:
		column = PICK(w->c, numbers);
		/* proto is a word of the language, and takes a value alone. */
		sqlite3_str_appendf(w->sql, "%s %s ", column,
				    strcmp(column, "proto") == 0 ? "" : PICK(w->c, ops));
		write_number_value(w, column);
		break;
	}
}

static void write_filter(struct writing *w, unsigned depth)
{
	uint32_t kind = depth ? choose(w->c, 6) : 0, n;

	if (kind < 2) {
		write_term(w);
		return;
	}
	sqlite3_str_appendall(w->sql, kind == 2 ? "not (" : "(");
	n = kind == 2 ? 1 : 1 + choose(w->c, 3);
	for (uint32_t i = 0; i < n; i++) {
		sqlite3_str_appendall(w->sql, !i ? "" : kind < 5 ? " and " : " or ");
		write_filter(w, depth - 1);
	}
	sqlite3_str_appendall(w->sql, ")");
}

char *random_filter(struct choices *c, struct row_table *values)
{
	struct writing w = {.c = c, .sql = sqlite3_str_new(NULL), .values = values, .of = ""};

	write_filter(&w, DEPTH);
	return sqlite3_str_finish(w.sql);
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/report/report_show.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/array_size.h"
#include "common/exit_code.h"
#include "common/log.h"

#define BOTH(name) .n_columns = 2, .columns = {FLOW_COLUMN_##name, FLOW_COLUMN_rev_##name}

static const struct report_measure words[] = {
	{"bytes", UNIT_BYTES, {.kind = MEASURE_SUM, BOTH(bytes)}},
	{"packets", UNIT_COUNT, {.kind = MEASURE_SUM, BOTH(packets)}},
	{"flows", UNIT_COUNT, {.kind = MEASURE_FLOWS}},
	{"records", UNIT_COUNT, {.kind = MEASURE_COUNT}},
	{"share", UNIT_PERCENT, {.kind = MEASURE_SHARE, BOTH(bytes)}},
};

/* What may be in the parentheses. */
enum argument {
	AMOUNTS, /* columns that count something */
	NUMBERS, /* columns of numbers */
	ANYTHING,
};

static const struct function {
	const char *name;
	enum measure_kind kind;
	enum argument argument;
} functions[] = {
	{"sum", MEASURE_SUM, AMOUNTS},
	{"avg", MEASURE_AVG, AMOUNTS},
	{"share", MEASURE_SHARE, AMOUNTS},
	{"min", MEASURE_MIN, NUMBERS},
	{"max", MEASURE_MAX, NUMBERS},
	{"count", MEASURE_COUNT, ANYTHING},
	{"distinct", MEASURE_DISTINCT, ANYTHING},
};

/* Numbers that are names. */
static const enum flow_column no_amounts[] = {
	FLOW_COLUMN_host_id,
	FLOW_COLUMN_flow_id,
	FLOW_COLUMN_start_ms,
	FLOW_COLUMN_end_ms,
	FLOW_COLUMN_src_port,
	FLOW_COLUMN_dst_port,
	FLOW_COLUMN_proto,
	FLOW_COLUMN_icmp_type,
	FLOW_COLUMN_icmp_code,
	FLOW_COLUMN_icmp_id,
	FLOW_COLUMN_vlan,
	FLOW_COLUMN_tcp_flags,
	FLOW_COLUMN_rev_tcp_flags,
	FLOW_COLUMN_icmp_error_type,
	FLOW_COLUMN_icmp_error_code,
	FLOW_COLUMN_tunnel_id,
	FLOW_COLUMN_quic_version,
	FLOW_COLUMN_pid,
	FLOW_COLUMN_uid,
};

static bool fits(enum flow_column c, enum argument argument)
{
	enum flow_kind kind = flow_column_info[c].kind;

	if (kind == FLOW_HIST)
		return false;
	if (argument == ANYTHING)
		return true;
	for (size_t i = 0; argument == AMOUNTS && i < ARRAY_SIZE(no_amounts); i++)
		if (no_amounts[i] == c)
			return false;
	return (kind == FLOW_U32 || kind == FLOW_U64) && !flow_words_of(c);
}

/* --- what is wrong ------------------------------------------------------------------- */

static void say_columns(enum argument argument)
{
	fprintf(stderr, " ");
	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++)
		if (fits((enum flow_column)c, argument))
			fprintf(stderr, " %s", flow_column_info[c].name);
	fprintf(stderr, "\n");
}

static int say_measures(const char *word)
{
	log_error("--show %s: not one of bytes, packets, flows, records, share, share(x), sum(x), "
		  "avg(x), min(x), max(x), p50(x), count(x), distinct(x)",
		  word);
	return EXIT_USAGE;
}

/* --- functions ------------------------------------------------------------------------- */

/* "p95" and the like. */
static bool read_quantile(const char *name, size_t len, double *ret)
{
	char *end;
	double percent;

	if (name[0] != 'p' || len < 2 || name[1] < '0' || name[1] > '9')
		return false;
	percent = strtod(name + 1, &end);
	*ret = percent / 100;
	return end == name + len && percent <= 100;
}

static bool find_function(const char *name, size_t len, struct function *ret, double *ret_q)
{
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		if (strlen(functions[i].name) == len &&
		    strncmp(functions[i].name, name, len) == 0) {
			*ret = functions[i];
			return true;
		}
	}
	*ret = (struct function){"", MEASURE_QUANTILE, NUMBERS};
	return read_quantile(name, len, ret_q);
}

static int read_column(const char *name, size_t len, const struct function *f, struct measure *m)
{
	char copy[64];
	int column;

	(void)snprintf(copy, sizeof(copy), "%.*s", (int)len, name);
	column = flow_column_find(copy);
	if (column >= 0 && fits((enum flow_column)column, f->argument)) {
		m->columns[m->n_columns++] = (enum flow_column)column;
		return EXIT_OK;
	}
	log_error("--show ...(%s): not one of the columns", copy);
	say_columns(f->argument);
	return EXIT_USAGE;
}

/* "x)" or "x+y)" */
static int read_arguments(const char *at, const struct function *f, struct measure *m)
{
	size_t len = strcspn(at, "+)");
	int code = read_column(at, len, f, m);

	if (code || at[len] == ')')
		return code;
	if (f->kind == MEASURE_DISTINCT) {
		log_error("--show distinct(x): of one column");
		return EXIT_USAGE;
	}
	at += len + 1;
	return read_column(at, strcspn(at, ")"), f, m);
}

static enum output_unit unit_of(const struct measure *m)
{
	const char *name = flow_column_info[m->columns[0]].name;
	size_t len = strlen(name);

	if (m->kind == MEASURE_SHARE)
		return UNIT_PERCENT;
	if (m->kind == MEASURE_COUNT || m->kind == MEASURE_DISTINCT)
		return UNIT_COUNT;
	if (!fits(m->columns[0], AMOUNTS))
		return len > 3 && strcmp(name + len - 3, "_ms") == 0 ? UNIT_TIME_MS : UNIT_NONE;
	if (len > 3 && strcmp(name + len - 3, "_us") == 0)
		return UNIT_US;
	return strstr(name, "bytes") ? UNIT_BYTES : UNIT_COUNT;
}

/* avg(rtt_us) is called avg_rtt_us. */
static void name_after(const char *word, char ret[REPORT_NAME_MAX])
{
	size_t n = 0;

	for (; *word && *word != ')' && n < REPORT_NAME_MAX - 1; word++)
		ret[n++] = *word == '(' || *word == '+' || *word == '.' ? '_' : *word;
	ret[n] = '\0';
}

/* --- lists -------------------------------------------------------------------------------- */

static int read_function(const char *word, struct report_measure *ret, char name[REPORT_NAME_MAX])
{
	size_t len = strcspn(word, "("), whole = strlen(word);
	struct measure m = {0};
	struct function f;
	int code;

	if (!word[len] || word[whole - 1] != ')' || strchr(word, ')') != word + whole - 1 ||
	    !find_function(word, len, &f, &m.q))
		return say_measures(word);
	m.kind = f.kind;
	code = read_arguments(word + len + 1, &f, &m);
	if (code)
		return code;
	name_after(word, name);
	*ret = (struct report_measure){name, unit_of(&m), m};
	return EXIT_OK;
}

static int read_word(const char *word, struct report_measure *ret, char name[REPORT_NAME_MAX])
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(words[i].name, word) != 0)
			continue;
		*ret = words[i];
		if (ret->measure.kind == MEASURE_SHARE)
			ret->name = "share_pct";
		return EXIT_OK;
	}
	return read_function(word, ret, name);
}

int report_show_read(const struct option_list *list, struct report_show *ret)
{
	int code = EXIT_OK;

	if (list->n == 0 || list->n > MEASURE_LIMIT) {
		log_error("--show takes one to %d measures", MEASURE_LIMIT);
		return EXIT_USAGE;
	}
	ret->n = list->n;
	for (size_t i = 0; !code && i < list->n; i++)
		code = read_word(list->items[i], &ret->measures[i], ret->names[i]);
	return code;
}

int report_show_find(const struct option_list *list, const char *word)
{
	for (size_t i = 0; i < list->n; i++)
		if (strcmp(list->items[i], word) == 0)
			return (int)i;
	log_error("--order %s: not one of what --show has", word);
	return -1;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * report_groups.h - a report that groups flow records, as a table of what it
 * groups by and what it measures; asked of aggregate/aggregate.h.
 *
 * Every conversation counts once (once/once.h), and the answer says how
 * many records that set aside.
 */
#ifndef WEIR_COLLECTOR_REPORT_REPORT_GROUPS_H
#define WEIR_COLLECTOR_REPORT_REPORT_GROUPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/aggregate/aggregate.h"
#include "collector/cli/cli.h"
#include "common/options.h"
#include "common/output.h"

#define REPORT_MAX_KEYS	  GROUP_MAX_KEYS
#define REPORT_MAX_ORDERS 2
#define REPORT_MAX_PASSES 2

struct report_key {
	const char *name;
	struct group_key key;
};

/* Without a name it is not shown. */
struct report_measure {
	const char *name;
	enum output_unit unit;
	struct measure measure;
};

/* What else is read, for measures of pass 1, 2, ... The window is pass 0. */
struct report_pass {
	int64_t since_ms, until_ms;
	bool everything;   /* without the filter, and all records of a conversation */
	bool known_groups; /* only for groups that the window has */
};

struct report_question {
	size_t n_keys;
	struct report_key keys[REPORT_MAX_KEYS];
	size_t n_measures;
	const struct report_measure *measures;
	const struct predicate *where;	   /* which records it is about; NULL: all */
	const struct predicate *way;	   /* those that count as keys and measures say, ... */
	const struct aggregate_spec *also; /* ... and those that do like this, perhaps as well */
	size_t n_orders;
	struct aggregate_order orders[REPORT_MAX_ORDERS];
	size_t n_passes;
	struct report_pass passes[REPORT_MAX_PASSES];
	bool rest;     /* rows (other) and (total) */
	bool only_new; /* groups whose first order is 0 */
};

/*
 * Takes the keys of q from --by: one to REPORT_MAX_KEYS of the words in allowed,
 * with blanks between; NULL: any of group_key.h. Says what is wrong.
 */
int report_set_keys(const struct option_list *by, const char *allowed, struct report_question *q);

/* Reads the window and the filter of s, and prints. Returns an exit status. */
int report_answer_groups(const struct cli_settings *s, int argc, char **argv,
			 const struct report_question *q);

/* --- tables of measures ----------------------------------------------------------- */

#define REPORT_SUM(name)                                                                           \
	{                                                                                          \
		.kind = MEASURE_SUM, .n_columns = 1, .columns = { FLOW_COLUMN_##name }             \
	}
#define REPORT_SUM_OF_TWO(name, other)                                                             \
	{                                                                                          \
		.kind = MEASURE_SUM, .n_columns = 2, .columns = {                                  \
			FLOW_COLUMN_##name,                                                        \
			FLOW_COLUMN_##other                                                        \
		}                                                                                  \
	}
#define REPORT_PERCENT(name, of_)                                                                  \
	{                                                                                          \
		.kind = MEASURE_PERCENT, .n_columns = 1, .columns = {FLOW_COLUMN_##name},          \
		.of = (of_)                                                                        \
	}
#define REPORT_QUANTILE(name, q_)                                                                  \
	{                                                                                          \
		.kind = MEASURE_QUANTILE, .n_columns = 1, .columns = {FLOW_COLUMN_##name},         \
		.q = (q_)                                                                          \
	}
#define REPORT_OF_COLUMN(kind_, name)                                                              \
	{                                                                                          \
		.kind = (kind_), .n_columns = 1, .columns = { FLOW_COLUMN_##name }                 \
	}
#define REPORT_ADDR_KEY(name_, column_)                                                            \
	{                                                                                          \
		.name = (name_), .key = {.kind = FLOWS_ADDR, .column = FLOW_COLUMN_##column_},     \
	}

/* Conditions. */
#define REPORT_IS(name, value)                                                                     \
	{                                                                                          \
		.kind = PREDICATE_RANGE, .column = FLOW_COLUMN_##name, .low = (value),             \
		.high = (value)                                                                    \
	}
#define REPORT_AT_LEAST(name, value)                                                               \
	{                                                                                          \
		.kind = PREDICATE_RANGE, .column = FLOW_COLUMN_##name, .low = (value),             \
		.high = UINT64_MAX                                                                 \
	}

#endif /* WEIR_COLLECTOR_REPORT_REPORT_GROUPS_H */

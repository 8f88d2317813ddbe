/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * report_show.h - measures as the user writes them: `--show`, `--order`.
 *
 *	bytes packets        sum of both directions
 *	flows records        different flows; records
 *	share                percent of all bytes; share(packets) of all packets
 *	sum(x) avg(x)        of a column that counts something, or x+y of two
 *	min(x) max(x)        of a column of numbers, or x+y
 *	p0(x) to p100(x)     the value at that percentile, exactly: p50, p95, p99.9
 *	count(x)             records that have it
 *	distinct(x)          different values of any column
 */
#ifndef WEIR_COLLECTOR_REPORT_REPORT_SHOW_H
#define WEIR_COLLECTOR_REPORT_REPORT_SHOW_H

#include "collector/report/report_groups.h"
#include "common/options.h"

#define REPORT_SHOW_HELP                                                                           \
	"what to show: bytes packets flows records share, sum(x) avg(x) min(x) max(x) p95(x) "     \
	"count(x) distinct(x) of columns"

#define REPORT_NAME_MAX 80

struct report_show {
	size_t n;
	struct report_measure measures[MEASURE_LIMIT]; /* names are in names */
	char names[MEASURE_LIMIT][REPORT_NAME_MAX];
};

/* Reads the list. Says what is wrong and returns an exit status. *ret stays where it is. */
int report_show_read(const struct option_list *list, struct report_show *ret);

/* The number of the measure that is written like this; -1, having said so, if it is not shown. */
int report_show_find(const struct option_list *list, const char *word);

#endif /* WEIR_COLLECTOR_REPORT_REPORT_SHOW_H */

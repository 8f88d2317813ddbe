// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/report/report.h"

#include "collector/report/report_show.h"
#include "common/array_size.h"
#include "common/exit_code.h"

struct top_settings {
	struct report_by_settings by; /* first: the shared rows count on it */
	struct option_list show;
	char *order; /* NULL: the first of show */
};

static int run_top(const void *settings, int argc, char **argv)
{
	const struct top_settings *s = settings;
	struct report_question q = {.n_orders = 1, .rest = true};
	struct report_show show;
	int order = 0, code = report_set_keys(&s->by.by, NULL, &q);

	if (!code)
		code = report_show_read(&s->show, &show);
	if (!code && s->order)
		order = report_show_find(&s->show, s->order);
	if (code || order < 0)
		return EXIT_USAGE;
	q.n_measures = show.n;
	q.measures = show.measures;
	q.orders[0].measure = (size_t)order;
	return report_answer_groups(&s->by.cli, argc, argv, &q);
}

static const struct option_row rows[] = {
	REPORT_BY_ROW("src_addr", "columns, src_net, dst_net"),
	{.name = "show",
	 .type = OPTION_LIST,
	 .offset = offsetof(struct top_settings, show),
	 .arg = "MEASURE,...",
	 .fallback = "bytes,packets,flows,share",
	 .help = REPORT_SHOW_HELP,
	 .cli_only = true},
	{.name = "order",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct top_settings, order),
	 .arg = "MEASURE",
	 .help = "which of them is largest in the first row (default the first)",
	 .cli_only = true},
};

const struct cli_command report_top = {
	.command = {.name = "report top",
		    .args = "[FILTER...]",
		    .summary = "most bytes, or of any other measure, with the rest and the total",
		    .examples =
			    "report top --by dst_addr,dst_port --since 1d tcp\n"
			    "report top --by src_net,dst_net/16 --show bytes,share\n"
			    "report top --by host,process --show flows,p95(rtt_us),avg(bytes)\n"
			    "\n"
			    "bytes, packets: of both directions. x: a column, or two as in\n"
			    "sum(retrans_pkts+rev_retrans_pkts). Flows of (other) and (total) are "
			    "the sum of the rows'.\n",
		    .tables = {{rows, ARRAY_SIZE(rows)}, REPORT_TABLES}},
	.settings_size = sizeof(struct top_settings),
	.run = run_top,
};

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/report.h"

#include <stdint.h>

#include "collector/query.h"
#include "common/cleanup.h"

#define TOP_KEYS                                                                                   \
	"host src_addr dst_addr src_port dst_port proto proto_name ip_version vlan iface "         \
	"direction role end_reason icmp_type icmp_code process pid uid cgroup"

/* A row of sums over ranked, under a name in place of the keys. */
static void add_sum_row(struct query *q, const struct option_list *by, int part, const char *name,
			const char *where)
{
	query_add(q, " UNION ALL SELECT %d, '%s', ", part, name);
	for (size_t i = 1; i < by->n; i++)
		query_add(q, "NULL, ");
	query_add(q,
		  "sum(bytes), sum(packets), sum(flows), NULL FROM ranked %s"
		  " HAVING count(*) > 0",
		  where);
}

static void build_top(struct query *q, const struct option_list *by, uint64_t limit)
{
	(void)query_bind_int(q, limit ? (int64_t)limit : INT64_MAX); /* ?1 */
	query_add(q, "WITH grouped AS (SELECT ");
	report_add_keys(q, by);
	query_add(q, "sum(bytes + rev_bytes) AS bytes, sum(packets + rev_packets) AS packets,"
		     " count(DISTINCT flow_id) AS flows FROM traffic GROUP BY ");
	report_add_key_numbers(q, by);
	query_add(q, "), ranked AS (SELECT *, row_number() OVER (ORDER BY bytes DESC, ");
	report_add_keys(q, by);
	query_add(q, "flows) AS rank FROM grouped) SELECT ");
	report_add_keys(q, by);
	query_add(q, "bytes, packets, flows,"
		     " 100.0 * bytes / (SELECT sum(bytes) FROM grouped) AS share_pct"
		     " FROM (SELECT 1 AS part, * FROM ranked WHERE rank <= ?1");
	add_sum_row(q, by, 2, "(other)", "WHERE rank > ?1");
	add_sum_row(q, by, 3, "(total)", "");
	query_add(q, ") ORDER BY part, rank");
}

static int run_top(const void *settings, int argc, char **argv)
{
	const struct report_by_settings *s = settings;
	cleanup(query_done) struct query q;
	enum output_unit units[REPORT_MAX_KEYS + 4] = {UNIT_NONE};
	int code;

	query_init(&q);
	code = report_check_keys(&s->by, TOP_KEYS);
	if (code)
		return code;
	build_top(&q, &s->by, s->cli.limit);
	units[s->by.n] = UNIT_BYTES;
	units[s->by.n + 1] = UNIT_COUNT;
	units[s->by.n + 2] = UNIT_COUNT;
	units[s->by.n + 3] = UNIT_PERCENT;
	return report_answer(&s->cli, argc, argv, &q, units);
}

static const struct option_row by_row = REPORT_BY_ROW("src_addr", TOP_KEYS);

const struct cli_command report_top = {
	.command = {.name = "report top",
		    .args = "[FILTER...]",
		    .summary = "most bytes (both directions), with the rest and the total",
		    .examples = "report top --by dst_addr,dst_port --since 1d tcp\n",
		    .tables = {{&by_row, 1}, REPORT_TABLES}},
	.settings_size = sizeof(struct report_by_settings),
	.run = run_top,
};

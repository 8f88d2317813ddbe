// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flow_row.h"

#include "collector/binder.h"
#include "common/addr.h"
#include "common/clock.h"
#include "common/community_id.h"
#include "proto/flow_columns.h"

#define HIST_TEXT_MAX (RTT_BUCKETS * sizeof("65535"))

/* Columns that are worked out here, then all of proto/flow_columns.h. */
#define NAME(name, max, has)   ", " #name
#define MARKER(name, max, has) ", ?"
#define NAMES		       FLOW_TEXTS(NAME) FLOW_COLUMNS(NAME)
#define MARKERS		       FLOW_TEXTS(MARKER) FLOW_COLUMNS(MARKER)
const char flow_row_insert_sql[] =
	"INSERT INTO flow (host_id, start_ms, end_ms, duration_us, src_addr, dst_addr,"
	" data_rtt_hist, rev_data_rtt_hist, outer_src_addr, outer_dst_addr, community_id" NAMES
	") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?" MARKERS ")";

/* The texts of a row, which live until it is inserted. */
struct texts {
	char src[ADDR_TEXT_MAX], dst[ADDR_TEXT_MAX];
	char outer_src[ADDR_TEXT_MAX], outer_dst[ADDR_TEXT_MAX];
	char hist[HIST_TEXT_MAX], rev_hist[HIST_TEXT_MAX];
	char community_id[COMMUNITY_ID_MAX];
};

/* By snprintf() a histogram took 0.6 us longer, a sixth of what a row costs. */
static char *put_decimal(char *at, uint16_t value)
{
	char digits[sizeof("65535")];
	size_t n = 0;

	do {
		digits[n++] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	while (n)
		*at++ = digits[--n];
	return at;
}

/* "0,0,3,..." */
static const char *format_hist(const uint16_t hist[RTT_BUCKETS], char ret[HIST_TEXT_MAX])
{
	char *at = ret;

	for (size_t i = 0; i < RTT_BUCKETS; i++) {
		if (i)
			*at++ = ',';
		at = put_decimal(at, hist[i]);
	}
	*at = '\0';
	return ret;
}

static const char *community_id_of(const struct flow_record *r, char ret[COMMUNITY_ID_MAX])
{
	uint16_t src_part = r->src_port, dst_part = r->dst_port;

	if (flow_is_icmp(r)) {
		src_part = r->icmp_type;
		dst_part = r->icmp_code;
	}
	return community_id(r->src_addr, r->dst_addr, r->proto, src_part, dst_part, ret);
}

static void bind_texts(struct binder *b, const struct flow_record *r, struct texts *t)
{
	binder_text(b, addr_format(r->src_addr, t->src));
	binder_text(b, addr_format(r->dst_addr, t->dst));
	binder_text(b, r->data_rtt_samples ? format_hist(r->data_rtt_hist, t->hist) : NULL);
	binder_text(b, r->rev_data_rtt_samples ? format_hist(r->rev_data_rtt_hist, t->rev_hist)
					       : NULL);
	binder_text(b, r->tunnel ? addr_format(r->outer_src_addr, t->outer_src) : NULL);
	binder_text(b, r->tunnel ? addr_format(r->outer_dst_addr, t->outer_dst) : NULL);
	binder_text(b, flow_is_catch_all(r) ? NULL : community_id_of(r, t->community_id));
}

static void bind_if(struct binder *b, bool has, uint64_t value)
{
	if (has)
		binder_count(b, value);
	else
		binder_null(b);
}

int flow_row_insert(sqlite3_stmt *st, int64_t host_id, const struct flow_record *r)
{
	struct binder b = binder_start(st);
	struct texts texts;

	binder_int(&b, host_id);
	binder_count(&b, r->start_ns / NS_PER_MS);
	binder_count(&b, r->end_ns / NS_PER_MS);
	/* Below zero only if the host's clock was set back in between. */
	binder_int(&b, (int64_t)(r->end_ns - r->start_ns) / (int64_t)NS_PER_US);
	bind_texts(&b, r, &texts);
#define BIND_TEXT(name, max, has) binder_text(&b, (has) ? r->name : NULL);
	FLOW_TEXTS(BIND_TEXT)
#undef BIND_TEXT
#define BIND(name, max, has) bind_if(&b, has, r->name);
	FLOW_COLUMNS(BIND)
#undef BIND
	return binder_run(&b);
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Conditions on columns against the same conditions on records, one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/filter/filter.h"
#include "collector/filter/filter_predicate.h"
#include "collector/filter/filter_tree.h"
#include "collector/flowstore/host_names.h"
#include "collector/flowstore/predicate.h"
#include "common/array_size.h"
#include "common/community_id.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/random_flows.h"

#define N 2000

static struct flow_record rows[N];
static struct flow_block block;
static uint64_t rng = 77;

static struct host_names hosts; /* web1, web2, web1 */

static int read_hosts(void)
{
	sqlite3 *db = NULL;
	int rc = sqlite3_open(":memory:", &db);

	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db,
				  "CREATE TABLE host (id INTEGER PRIMARY KEY, name TEXT);"
				  "INSERT INTO host VALUES (1, 'web1'), (2, 'web2'), (3, 'web1')",
				  NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = host_names_read(&hosts, db);
	sqlite3_close(db);
	return rc;
}

static int setup(void **state)
{
	(void)state;
	if (read_hosts() != SQLITE_OK)
		return -1;
	for (size_t i = 0; i < N; i++) {
		rows[i] = random_flow(&rng);
		rows[i].flow_id = i + 1; /* tells rows apart */
		if (i % 2)
			rows[i].dst_port = (uint16_t)(i % 6 ? 443 : 53);
	}
	if (flow_block_from_rows(rows, N, &block))
		return -1;
	for (size_t i = 0; i < N; i++) {
		FLOW_COL_U32(&block, host_id)[i] = 1 + i % 4;
		flow_block_row(&block, i, &rows[i]); /* as the block has it */
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	host_names_done(&hosts);
	flow_block_done(&block);
	return 0;
}

static void match(const struct predicate *p, uint8_t ret[N])
{
	uint8_t *scratch = malloc(predicate_scratch_bytes(p, &block));

	assert_non_null(scratch);
	memset(ret, 7, N);
	predicate_match(p, &block, ret, scratch);
	free(scratch);
}

/* --- filters, against C on records ------------------------------------------------ */

#define MATCHER(name, condition)                                                                   \
	static bool name(const struct flow_record *r, uint32_t host_id)                            \
	{                                                                                          \
		(void)r, (void)host_id;                                                            \
		return condition;                                                                  \
	}

static const uint8_t ten_1[16] = {[10] = 0xff, 0xff, 10, 0, 0, 1};

static bool is_v4(const struct flow_record *r)
{
	return memcmp(r->src_addr, ten_1, 12) == 0;
}

MATCHER(all, true)
MATCHER(tcp, r->proto == 6)
MATCHER(v4, is_v4(r))
MATCHER(v6, !is_v4(r))
MATCHER(none, false)
MATCHER(host_10_1, memcmp(r->src_addr, ten_1, 16) == 0 || memcmp(r->dst_addr, ten_1, 16) == 0)
MATCHER(src_ten, is_v4(r) && r->src_addr[12] == 10)
MATCHER(not_src_ten, !(is_v4(r) && r->src_addr[12] == 10))
MATCHER(web1, host_id == 1 || host_id == 3)
MATCHER(https, r->dst_port == 443)
MATCHER(either_https, r->dst_port == 443 || r->src_port == 443)
MATCHER(low_ports, r->src_port <= 1023 && r->dst_port <= 1023)
MATCHER(slow, r->proto == 6 && r->rtt_us > 50000)
MATCHER(not_slow, !(r->proto == 6 && r->rtt_us > 50000))
MATCHER(rtt_not_0, r->proto == 6 && r->rtt_us != 0)
MATCHER(rtt_below, r->proto == 6 && r->rtt_us && r->rtt_us < 20000)
MATCHER(big, r->bytes > 1000000)
MATCHER(syn_ack, r->proto == 6 && (r->tcp_flags & 18) == 18)
MATCHER(role_server, r->role == FLOW_ROLE_SERVER)
MATCHER(refused, r->verdict == FLOW_VERDICT_REFUSED)
MATCHER(aaaa, r->dns_qname[0] && r->dns_qtype == 28)
MATCHER(iface_2, strcmp(r->iface, "iface2") == 0)
MATCHER(iface_2_or_3, strcmp(r->iface, "iface2") == 0 || strcmp(r->iface, "iface3") == 0)
MATCHER(sni_1, strcmp(r->tls_sni, "tls_sni1") == 0)
MATCHER(mss_below, r->mss && r->mss < 1400)
MATCHER(mss_not, r->mss && r->mss != 1)
MATCHER(vlan_list, r->vlan == 1 || r->vlan == 4095)
MATCHER(longer, r->end_ns - r->start_ns > 2000000000u)
MATCHER(mixed, (r->proto == 6 && r->dst_port == 443) || !(r->bytes > 1000000))

static const struct {
	const char *filter;
	bool (*matches)(const struct flow_record *r, uint32_t host_id);
} pairs[] = {
	{"", all},
	{"tcp", tcp},
	{"ip", v4},
	{"ip6", v6},
	{"ip_version > 4", v6},
	{"ip_version >= 4", all},
	{"ip_version < 4", none},
	{"host 10.0.0.1", host_10_1},
	{"src net 10.0.0.0/8", src_ten},
	{"not src net 10.0.0.0/8", not_src_ten},
	{"host web1", web1},
	{"host nobody", none},
	{"dst port 443", https},
	{"port 443", either_https},
	{"src and dst port < 1024", low_ports},
	{"src and dst port 0-1023", low_ports},
	{"rtt > 50ms", slow},
	{"not rtt > 50ms", not_slow},
	{"rtt_us != 0", rtt_not_0},
	{"rtt < 20ms", rtt_below},
	{"bytes > 1M", big},
	{"bytes < 0", none},
	{"flags SA", syn_ack},
	{"role SERVER", role_server},
	{"verdict refused", refused},
	{"dns_qtype AAAA", aaaa},
	{"dns_qtype aaaa", none},
	{"dns_rcode NONSENSE", none},
	{"iface iface2", iface_2},
	{"iface in [iface2, iface3, nowhere]", iface_2_or_3},
	{"tls_sni tls_sni1", sni_1},
	{"mss < 1400", mss_below},
	{"mss != 1", mss_not},
	{"vlan in [1, 4095]", vlan_list},
	{"duration > 2s", longer},
	{"tcp dst port 443 or not bytes > 1M", mixed},
};

static void test_filters(void **state)
{
	size_t selective = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		struct filter_predicate *f;
		struct filter_error error;
		struct filter_tree *tree;
		uint8_t got[N];
		size_t found = 0;

		if (filter_parse(pairs[i].filter, &tree, &error))
			fail_msg("'%s': %s", pairs[i].filter, error.text);
		assert_int_equal(filter_predicate_new(tree, &hosts, &f), 0);
		match(filter_predicate_root(f), got);
		for (size_t k = 0; k < N; k++) {
			if (got[k] != pairs[i].matches(&rows[k], 1 + k % 4))
				fail_msg("'%s': row %zu is %u", pairs[i].filter, k, got[k]);
			found += got[k];
		}
		selective += found > 0 && found < N;
		filter_predicate_free(f);
		filter_tree_free(tree);
	}
	assert_true(selective > ARRAY_SIZE(pairs) - 9); /* the rows tell filters apart */
}

static const char *id_of(const struct flow_record *r, char ret[COMMUNITY_ID_MAX])
{
	bool icmp = r->proto == IPPROTO_ICMP || r->proto == IPPROTO_ICMPV6;

	if (r->end_reason == FLOW_END_NO_RESOURCES)
		return NULL;
	return community_id(r->src_addr, r->dst_addr, r->proto, icmp ? r->icmp_type : r->src_port,
			    icmp ? r->icmp_code : r->dst_port, ret);
}

static void test_community_id(void **state)
{
	char wanted[COMMUNITY_ID_MAX], id[COMMUNITY_ID_MAX], text[200];
	struct filter_predicate *f;
	struct filter_error error;
	struct filter_tree *tree;
	size_t row = 0, found = 0;
	uint8_t got[N];

	(void)state;
	while (!id_of(&rows[row], wanted))
		row++;
	(void)snprintf(text, sizeof(text), "not (community_id \"%s\" or host nobody)", wanted);
	assert_int_equal(filter_parse(text, &tree, &error), 0);
	assert_int_equal(filter_predicate_new(tree, &hosts, &f), 0);
	match(filter_predicate_root(f), got);
	for (size_t i = 0; i < N; i++) {
		bool same = id_of(&rows[i], id) && strcmp(id, wanted) == 0;

		assert_int_equal(got[i], !same);
		found += same;
	}
	assert_in_range(found, 1, N - 1);
	filter_predicate_free(f);
	filter_tree_free(tree);
}

static void test_out_of_memory(void **state)
{
	struct filter_error error;
	struct filter_tree *tree;
	unsigned n = 0;
	int err;

	(void)state;
	assert_int_equal(filter_parse("host web1 and (mss != 1 or not ip6)", &tree, &error), 0);
	do {
		struct filter_predicate *f = NULL;

		fail_alloc_at(++n);
		err = filter_predicate_new(tree, &hosts, &f);
		assert_int_equal(err, fail_alloc_at(0) ? -ENOMEM : 0);
		filter_predicate_free(f);
	} while (err);
	assert_true(n > 8);
	filter_tree_free(tree);
}

/* --- random trees, against one row after the other --------------------------------- */

static uint64_t value_of(enum flow_column c, size_t i)
{
	return flow_column_info[c].kind == FLOW_U64 ? block.column[c].u64[i]
						    : block.column[c].u32[i];
}

static bool row_matches(const struct predicate *p, size_t i)
{
	bool any = false, all_of = true;

	if (p->kind <= PREDICATE_HAS && !flow_block_has(&block, p->column, i))
		return false;
	for (size_t c = 0; c < p->n_children; c++) {
		bool matches = row_matches(&p->children[c], i);

		any |= matches;
		all_of &= matches;
	}
	switch (p->kind) {
	case PREDICATE_RANGE:
		return value_of(p->column, i) >= p->low && value_of(p->column, i) <= p->high;
	case PREDICATE_BITS:
		return (value_of(p->column, i) & p->low) == p->high;
	case PREDICATE_PREFIX:
		return addr_in_prefix(block.addrs[block.column[p->column].u32[i]], &p->prefix);
	case PREDICATE_TEXT:
		return strcmp(block.texts[block.column[p->column].u32[i]], p->text) == 0;
	case PREDICATE_HAS:
		return true;
	case PREDICATE_ALL:
		return all_of;
	case PREDICATE_ANY:
		return any;
	case PREDICATE_NOT:
		return !any;
	default:
		return p->kind == PREDICATE_TRUE;
	}
}

static struct predicate random_term(void)
{
	struct predicate p = {.column = (enum flow_column)(random_u64(&rng) % FLOW_N_COLUMNS)};
	uint64_t at = random_u64(&rng) % N;

	switch (flow_column_info[p.column].kind) {
	case FLOW_ADDR:
		p.kind = PREDICATE_PREFIX;
		p.prefix.len = (unsigned)(random_u64(&rng) % 129);
		memcpy(p.prefix.addr, block.addrs[block.column[p.column].u32[at]], 16);
		for (unsigned bit = p.prefix.len; bit < 128; bit++)
			p.prefix.addr[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
		break;
	case FLOW_TEXT:
		p.kind = PREDICATE_TEXT;
		p.text = random_u64(&rng) % 5 ? block.texts[block.column[p.column].u32[at]]
					      : "no such text";
		break;
	case FLOW_HIST:
		p.kind = PREDICATE_TRUE;
		return p;
	default:
		p.kind = random_u64(&rng) % 3 ? PREDICATE_RANGE : PREDICATE_BITS;
		p.low = value_of(p.column, at);
		p.high = p.kind == PREDICATE_BITS ? p.low & value_of(p.column, at / 2)
						  : random_u64(&rng) >> random_u64(&rng) % 64;
		break;
	}
	if (random_u64(&rng) % 8 == 0)
		p.kind = PREDICATE_HAS;
	return p;
}

static struct predicate random_tree(int depth)
{
	static const enum predicate_kind parents[] = {PREDICATE_ALL, PREDICATE_ANY, PREDICATE_NOT};
	struct predicate p = {.kind = parents[random_u64(&rng) % 3]};
	struct predicate *children;

	if (depth == 0)
		return random_term();
	p.n_children = p.kind == PREDICATE_NOT ? 1 : 1 + random_u64(&rng) % 3;
	children = calloc(p.n_children, sizeof(*children));
	assert_non_null(children);
	for (size_t i = 0; i < p.n_children; i++)
		children[i] = random_tree(depth - 1);
	p.children = children;
	return p;
}

static void free_tree(const struct predicate *p)
{
	for (size_t i = 0; i < p->n_children; i++)
		free_tree(&p->children[i]);
	free((void *)p->children);
}

static void test_random_trees(void **state)
{
	size_t selective = 0;

	(void)state;
	for (int round = 0; round < 300; round++) {
		struct predicate p = random_tree(round % 4);
		struct flow_columns columns = {{0}};
		uint8_t got[N];
		size_t found = 0;

		predicate_columns(&p, &columns);
		assert_int_equal(predicate_depth(&p), round % 4 + 1);
		match(&p, got);
		for (size_t i = 0; i < N; i++) {
			assert_int_equal(got[i], row_matches(&p, i));
			found += got[i];
		}
		selective += found > 0 && found < N;
		free_tree(&p);
	}
	assert_true(selective > 100);
}

/* The column of a term, mostly one behind several nodes. */
static enum flow_column some_column(const struct predicate *p)
{
	while (p->n_children > 0)
		p = &p->children[random_u64(&rng) % p->n_children];
	return p->column;
}

/* Whether row i meets the conditions on the column that p requires. */
static bool meets_required(const struct predicate *p, enum flow_column column, size_t i)
{
	bool meets = p->kind != PREDICATE_RANGE || p->column != column || row_matches(p, i);

	for (size_t c = 0; p->kind == PREDICATE_ALL && c < p->n_children; c++)
		meets &= meets_required(&p->children[c], column, i);
	return meets;
}

/* Of rows that meet what was left out, the rest tells the same. */
static void test_without_a_column(void **state)
{
	size_t shorter = 0;

	(void)state;
	for (int round = 0; round < 600; round++) {
		struct predicate p = random_tree(round % 4), *rest = NULL;
		enum flow_column column = some_column(&p);

		assert_int_equal(predicate_without(&p, column, &rest), 0);
		for (size_t i = 0; i < N; i++) {
			bool meets = meets_required(&p, column, i);

			assert_true(meets || rest);
			if (rest && meets)
				assert_int_equal(row_matches(rest, i), row_matches(&p, i));
		}
		shorter += rest != NULL;
		free(rest);
		free_tree(&p);
	}
	assert_in_range(shorter, 50, 550);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filters),		 cmocka_unit_test(test_community_id),
		cmocka_unit_test(test_out_of_memory),	 cmocka_unit_test(test_random_trees),
		cmocka_unit_test(test_without_a_column),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

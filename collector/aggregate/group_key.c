// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/aggregate/group_key.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/host_names.h"
#include "collector/flowstore/value_ids.h"
#include "collector/sqlite/db_error.h"
#include "common/cleanup.h"

#define DIRECT_MAX 65535 /* values up to it are numbers for themselves, plus 1 */
#define CATCH_ALL  256	 /* as a protocol */

struct group_values {
	struct value_ids *addrs, *texts, *numbers;
	struct host_names hosts;
	uint32_t *host_ids; /* of each of hosts, the number of its name in texts */
};

DEFINE_CLEANUP(struct group_values *, group_values_free)

/* --- which key ---------------------------------------------------------------------- */

/* src_net, src_net/16, src_net/16/48. */
static bool find_net(const char *name, struct group_key *ret)
{
	bool src = strncmp(name, "src_net", 7) == 0;
	unsigned v4 = 24, v6 = 64;
	int used = 7;
	char slash;

	if (!src && strncmp(name, "dst_net", 7) != 0)
		return false;
	if (name[7]) {
		if (sscanf(name + 7, "/%2u%n", &v4, &used) != 1)
			return false;
		used += 7;
		if (name[used] && sscanf(name + used, "%c%3u", &slash, &v6) == 2 && slash == '/')
			used += 1 + (int)strspn(name + used + 1, "0123456789");
	}
	if (name[used] || v4 < 1 || v4 > 32 || v6 < 1 || v6 > 128)
		return false;
	*ret = (struct group_key){.kind = FLOWS_ADDR,
				  .column = src ? FLOW_COLUMN_src_addr : FLOW_COLUMN_dst_addr,
				  .v4_bits = (uint8_t)v4,
				  .v6_bits = (uint8_t)v6};
	return true;
}

bool group_key_find(const char *name, struct group_key *ret)
{
	size_t n;
	const struct flows_column *c = flows_columns(&n);

	for (size_t i = 0; i < n; i++) {
		if (strcmp(c[i].name, name) != 0)
			continue;
		*ret = (struct group_key){.kind = c[i].kind, .column = c[i].column};
		return c[i].kind != FLOWS_HIST && c[i].kind != FLOWS_COMMUNITY_ID;
	}
	return find_net(name, ret);
}

struct group_key group_key_of(enum flow_column c)
{
	struct group_key k = {.kind = FLOWS_NUMBER, .column = c};

	(void)group_key_find(flow_column_info[c].name, &k); /* each has its name there */
	return k;
}

void group_key_columns(const struct group_key *k, struct flow_columns *columns)
{
	flow_columns_add_needed(columns, k->column);
	if (k->kind == FLOWS_PROTO_NAME)
		flow_columns_add(columns, FLOW_COLUMN_end_reason);
}

bool group_key_is_column(const struct group_key *k)
{
	return k->kind != FLOWS_PROTO_NAME && !flow_column_may_be_null(k->column);
}

/* --- values -------------------------------------------------------------------------- */

static int read_hosts(struct group_values *v, sqlite3 *db)
{
	const uint32_t first = 0;
	int err = db_errno(host_names_read(&v->hosts, db));

	v->host_ids = calloc(v->hosts.n + 1, sizeof(*v->host_ids));
	if (!err && !v->host_ids)
		err = -ENOMEM;
	for (size_t i = 0; !err && i < v->hosts.n; i++)
		err = value_ids_texts(v->texts, (const char **)&v->hosts.hosts[i].name, &first, 1,
				      &v->host_ids[i]);
	return err;
}

int group_values_new(sqlite3 *db, struct group_values **ret)
{
	cleanup(group_values_free_p) struct group_values *v = calloc(1, sizeof(*v));
	int err = v ? value_ids_new(&v->addrs) : -ENOMEM;

	if (!err)
		err = value_ids_new(&v->texts);
	if (!err)
		err = value_ids_new(&v->numbers);
	if (!err)
		err = read_hosts(v, db);
	if (err)
		return err;
	*ret = take_ptr(v);
	return 0;
}

void group_values_free(struct group_values *v)
{
	if (!v)
		return;
	value_ids_free(v->addrs);
	value_ids_free(v->texts);
	value_ids_free(v->numbers);
	free(v->host_ids);
	host_names_done(&v->hosts);
	free(v);
}

static uint32_t name_of_host(const struct group_values *v, uint32_t id)
{
	const struct host_name *h = host_names_entry(&v->hosts, id);

	return h ? v->host_ids[h - v->hosts.hosts] : 0;
}

/* --- ids of a block ------------------------------------------------------------------- */

void group_key_memory_done(struct group_key_memory *m)
{
	free(m->marks);
	free(m->map);
	free(m->list);
	free(m->numbers);
}

/* Room for so many rows, entries of a dictionary, and a mark for each of both. */
static int reserve(struct group_key_memory *m, size_t rows, size_t entries)
{
	if (rows <= m->max_rows && entries <= m->max_entries)
		return 0;
	group_key_memory_done(m);
	rows = rows > m->max_rows ? rows : m->max_rows;
	entries = entries > m->max_entries ? entries : m->max_entries;
	*m = (struct group_key_memory){
		.marks = malloc(rows + entries),
		.map = malloc(entries * sizeof(*m->map)),
		.list = malloc((rows + entries) * sizeof(*m->list)),
		.numbers = malloc(rows * sizeof(*m->numbers)),
		.max_rows = rows,
		.max_entries = entries,
	};
	if (m->marks && m->map && m->list && m->numbers)
		return 0;
	group_key_memory_done(m);
	*m = (struct group_key_memory){0};
	return -ENOMEM;
}

static void cut(uint8_t addr[16], const struct group_key *k)
{
	unsigned bits = addr_is_v4(addr) ? 96u + k->v4_bits : k->v6_bits;

	if (!k->v4_bits)
		return;
	for (unsigned i = 0; i < 16; i++)
		if (8 * i + 8 > bits)
			addr[i] &= 8 * i >= bits ? 0 : (uint8_t)(0xff00 >> (bits % 8));
}

/* The numbers of networks: of copies, as the block is not ours. */
static int net_ids(struct group_values *v, const struct group_key *k, const struct flow_block *b,
		   const uint32_t *list, size_t n, uint32_t *ret)
{
	uint8_t(*nets)[16] = malloc((n + 1) * sizeof(*nets));
	uint32_t *at = malloc((n + 1) * sizeof(*at));
	int err = nets && at ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < n; i++) {
		memcpy(nets[i], b->addrs[list[i]], sizeof(nets[i]));
		cut(nets[i], k);
		at[i] = (uint32_t)i;
	}
	if (!err)
		err = value_ids_addrs(v->addrs, (const uint8_t(*)[16])nets, at, n, ret);
	free(nets);
	free(at);
	return err;
}

/* Each entry of a dictionary that the rows use is looked up once. */
static int dictionary_ids(struct group_values *v, struct group_key_memory *m,
			  const struct group_key *k, const struct flow_block *b,
			  const uint32_t *rows, size_t n, uint32_t *ret)
{
	const uint32_t *numbers = b->column[k->column].u32;
	size_t n_entries = k->kind == FLOWS_ADDR ? b->n_addrs : b->n_texts, used = 0;
	uint32_t *ids = m->list + n_entries;
	int err;

	memset(m->marks, 0, n_entries);
	for (size_t i = 0; i < n; i++)
		m->marks[numbers[rows[i]]] = 1;
	for (size_t e = 0; e < n_entries; e++) {
		m->list[used] = (uint32_t)e;
		used += m->marks[e];
	}
	/* There are as many used entries as rows at most. */
	if (k->kind == FLOWS_TEXT)
		err = value_ids_texts(v->texts, b->texts, m->list, used, ids);
	else if (k->v4_bits)
		err = net_ids(v, k, b, m->list, used, ids);
	else
		err = value_ids_addrs(v->addrs, (const uint8_t(*)[16])b->addrs, m->list, used, ids);
	if (err)
		return err;
	for (size_t i = 0; i < used; i++)
		m->map[m->list[i]] = ids[i];
	for (size_t i = 0; i < n; i++)
		ret[i] = m->map[numbers[rows[i]]];
	return 0;
}

static int number_ids(struct group_values *v, struct group_key_memory *m, const struct group_key *k,
		      const struct flow_block *b, const uint32_t *rows, size_t n, uint32_t *ret)
{
	union flow_array a = b->column[k->column];

	if (flow_column_info[k->column].max <= DIRECT_MAX) {
		for (size_t i = 0; i < n; i++)
			ret[i] = a.u32[rows[i]] + 1;
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		m->numbers[i] = flow_column_info[k->column].kind == FLOW_U64 ? a.u64[rows[i]]
									     : a.u32[rows[i]];
	return value_ids_numbers(v->numbers, m->numbers, n, ret);
}

/* A code without a word is NULL. */
static void word_ids(const struct group_key *k, const struct flow_block *b, const uint32_t *rows,
		     size_t n, uint32_t *ret)
{
	const uint32_t *codes = b->column[k->column].u32;
	uint32_t last = 0, id = flow_word(k->column, 0, (char[FLOW_WORD_MAX]){0}) != NULL;

	for (size_t i = 0; i < n; i++) {
		uint32_t code = codes[rows[i]];

		if (code != last)
			id = flow_word(k->column, code, (char[FLOW_WORD_MAX]){0}) ? code + 1 : 0;
		last = code;
		ret[i] = id;
	}
}

static void host_ids(const struct group_values *v, const struct flow_block *b, const uint32_t *rows,
		     size_t n, uint32_t *ret)
{
	uint32_t last = 0, name = 0;

	for (size_t i = 0; i < n; i++) {
		uint32_t id = FLOW_COL_U32(b, host_id)[rows[i]];

		if (i == 0 || id != last)
			name = name_of_host(v, id);
		last = id;
		ret[i] = name;
	}
}

static void proto_ids(const struct flow_block *b, const uint32_t *rows, size_t n, uint32_t *ret)
{
	const uint32_t *proto = FLOW_COL_U32(b, proto), *end = FLOW_COL_U32(b, end_reason);

	for (size_t i = 0; i < n; i++)
		ret[i] = 1 + (end[rows[i]] == FLOW_END_NO_RESOURCES ? CATCH_ALL : proto[rows[i]]);
}

static void version_ids(struct group_key_memory *m, const struct flow_block *b,
			const uint32_t *rows, size_t n, uint32_t *ret)
{
	const uint32_t *numbers = FLOW_COL_U32(b, src_addr);

	for (size_t e = 0; e < b->n_addrs; e++)
		m->marks[e] = addr_is_v4(b->addrs[e]) ? 4 : 6;
	for (size_t i = 0; i < n; i++)
		ret[i] = 1u + m->marks[numbers[rows[i]]];
}

int group_key_ids(struct group_values *v, struct group_key_memory *m, const struct group_key *k,
		  const struct flow_block *b, const uint32_t *rows, size_t n, uint32_t *ret)
{
	size_t entries = b->n_addrs > b->n_texts ? b->n_addrs : b->n_texts;
	int err = reserve(m, b->n_rows, entries);

	if (err)
		return err;
	switch (k->kind) {
	case FLOWS_ADDR:
	case FLOWS_TEXT:
		err = dictionary_ids(v, m, k, b, rows, n, ret);
		break;
	case FLOWS_WORD:
		word_ids(k, b, rows, n, ret);
		break;
	case FLOWS_HOST:
		host_ids(v, b, rows, n, ret);
		break;
	case FLOWS_PROTO_NAME:
		proto_ids(b, rows, n, ret);
		break;
	case FLOWS_IP_VERSION:
		version_ids(m, b, rows, n, ret);
		break;
	default:
		err = number_ids(v, m, k, b, rows, n, ret);
		break;
	}
	if (!err && flow_block_has_mask(b, k->column, m->marks))
		for (size_t i = 0; i < n; i++)
			ret[i] &= 0u - m->marks[rows[i]];
	return err;
}

/* --- ... and back ------------------------------------------------------------------------ */

static const char *addr_text(struct group_values *v, const struct group_key *k, uint32_t id,
			     char buffer[GROUP_KEY_TEXT_MAX])
{
	const uint8_t *addr = value_ids_addr(v->addrs, id);
	char text[ADDR_TEXT_MAX];
	unsigned bits = addr_is_v4(addr) ? k->v4_bits : k->v6_bits;

	if (!k->v4_bits)
		return addr_format(addr, buffer);
	(void)snprintf(buffer, GROUP_KEY_TEXT_MAX, "%s/%u", addr_format(addr, text), bits);
	return buffer;
}

static const char *proto_text(uint32_t proto, char buffer[GROUP_KEY_TEXT_MAX])
{
	const char *name = proto == CATCH_ALL ? "catch-all" : proto_name((uint8_t)proto);

	if (name)
		return name;
	(void)snprintf(buffer, GROUP_KEY_TEXT_MAX, "%u", proto);
	return buffer;
}

static struct aggregate_value text_value(const char *text)
{
	return (struct aggregate_value){.type = text ? AGGREGATE_TEXT : AGGREGATE_NULL,
					.text = text};
}

static struct aggregate_value int_value(uint64_t number)
{
	return (struct aggregate_value){.type = AGGREGATE_INT, .integer = (int64_t)number};
}

struct aggregate_value group_key_value(struct group_values *v, const struct group_key *k,
				       uint32_t id, char buffer[GROUP_KEY_TEXT_MAX])
{
	if (id == 0)
		return text_value(NULL);
	switch (k->kind) {
	case FLOWS_ADDR:
		return text_value(addr_text(v, k, id, buffer));
	case FLOWS_TEXT:
	case FLOWS_HOST:
		return text_value(value_ids_text(v->texts, id));
	case FLOWS_WORD:
		return text_value(flow_word(k->column, id - 1, buffer));
	case FLOWS_PROTO_NAME:
		return text_value(proto_text(id - 1, buffer));
	case FLOWS_IP_VERSION:
		return int_value(id - 1);
	default:
		return int_value(flow_column_info[k->column].max <= DIRECT_MAX
					 ? id - 1
					 : value_ids_number(v->numbers, id));
	}
}

/* As strcmp() of the two in decimal, with something below '0' behind. */
static int compare_octets(unsigned a, unsigned b)
{
	char x[8], y[8];

	(void)snprintf(x, sizeof(x), "%u.", a);
	(void)snprintf(y, sizeof(y), "%u.", b);
	return strcmp(x, y);
}

/* Of a large answer, many are compared: texts are made only if there is no other way. */
static int compare_addrs(struct group_values *v, const struct group_key *k, uint32_t id,
			 uint32_t other)
{
	const uint8_t *a = value_ids_addr(v->addrs, id), *b = value_ids_addr(v->addrs, other);
	char x[GROUP_KEY_TEXT_MAX], y[GROUP_KEY_TEXT_MAX];

	if (!addr_is_v4(a) || !addr_is_v4(b))
		return strcmp(addr_text(v, k, id, x), addr_text(v, k, other, y));
	for (unsigned i = 12; i < 16; i++)
		if (a[i] != b[i])
			return compare_octets(a[i], b[i]);
	return 0;
}

int group_key_compare(struct group_values *v, const struct group_key *k, uint32_t id,
		      uint32_t other)
{
	char x[GROUP_KEY_TEXT_MAX], y[GROUP_KEY_TEXT_MAX];
	struct aggregate_value a, b;

	if (id == other || id == 0 || other == 0)
		return (id > other) - (id < other);
	if (k->kind == FLOWS_ADDR)
		return compare_addrs(v, k, id, other);
	a = group_key_value(v, k, id, x);
	b = group_key_value(v, k, other, y);
	if (a.type == AGGREGATE_TEXT && b.type == AGGREGATE_TEXT)
		return strcmp(a.text, b.text);
	return (a.integer > b.integer) - (a.integer < b.integer);
}

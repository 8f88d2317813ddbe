// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/zone.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"

/* --- zones --------------------------------------------------------------------- */

static void add_value(struct zone_values *v, uint32_t value)
{
	if (v->n > ZONE_MAX_VALUES || (v->n && v->values[v->n - 1] == value))
		return;
	for (size_t i = 0; i < v->n; i++)
		if (v->values[i] == value)
			return;
	if (v->n < ZONE_MAX_VALUES)
		v->values[v->n] = value;
	v->n++;
}

static void add_values(struct zone_values *v, const uint32_t *values, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (i == 0 || values[i] != values[i - 1])
			add_value(v, values[i]);
}

void zone_columns(struct flow_columns *columns)
{
	flow_columns_add(columns, FLOW_COLUMN_host_id);
	flow_columns_add(columns, FLOW_COLUMN_proto);
	flow_columns_add(columns, FLOW_COLUMN_dst_port);
	flow_columns_add(columns, FLOW_COLUMN_start_ms);
	flow_columns_add(columns, FLOW_COLUMN_end_ms);
}

struct zone zone_of(const struct flow_block *b)
{
	struct zone z = {.min_start_ms = UINT64_MAX, .min_end_ms = UINT64_MAX};

	add_values(&z.hosts, FLOW_COL_U32(b, host_id), b->n_rows);
	add_values(&z.protos, FLOW_COL_U32(b, proto), b->n_rows);
	add_values(&z.dst_ports, FLOW_COL_U32(b, dst_port), b->n_rows);
	for (size_t i = 0; i < b->n_rows; i++) {
		uint64_t start = FLOW_COL_U64(b, start_ms)[i], end = FLOW_COL_U64(b, end_ms)[i];

		z.min_start_ms = start < z.min_start_ms ? start : z.min_start_ms;
		z.min_end_ms = end < z.min_end_ms ? end : z.min_end_ms;
		z.max_end_ms = end > z.max_end_ms ? end : z.max_end_ms;
	}
	return z;
}

static uint8_t *put_values(uint8_t *at, const struct zone_values *v)
{
	at = varint_put(at, v->n);
	for (size_t i = 0; v->n <= ZONE_MAX_VALUES && i < v->n; i++)
		at = varint_put(at, v->values[i]);
	return at;
}

int zone_pack(const struct zone *z, uint8_t **ret, size_t *ret_len)
{
	uint8_t *data = malloc(3 * (ZONE_MAX_VALUES + 1) * 5), *at = data;

	if (!data)
		return -ENOMEM;
	at = put_values(at, &z->hosts);
	at = put_values(at, &z->protos);
	at = put_values(at, &z->dst_ports);
	*ret = data;
	*ret_len = (size_t)(at - data);
	return 0;
}

static bool get_values(const uint8_t **at, const uint8_t *end, struct zone_values *v)
{
	uint64_t n, value;

	if (!varint_get(at, end, &n) || n > ZONE_MAX_VALUES + 1)
		return false;
	v->n = (size_t)n;
	for (size_t i = 0; n <= ZONE_MAX_VALUES && i < n; i++) {
		if (!varint_get(at, end, &value))
			return false;
		v->values[i] = (uint32_t)value;
	}
	return true;
}

bool zone_unpack(const uint8_t *data, size_t len, struct zone *ret)
{
	const uint8_t *at = data, *end = data + len;

	return len && get_values(&at, end, &ret->hosts) && get_values(&at, end, &ret->protos) &&
	       get_values(&at, end, &ret->dst_ports) && at == end;
}

uint32_t zone_crc(const struct zone *z, const uint8_t *data, size_t len, uint64_t n_rows)
{
	const uint64_t numbers[] = {z->min_start_ms, z->min_end_ms, z->max_end_ms, n_rows,
				    crc32c(data, len)};

	return crc32c((const uint8_t *)numbers, sizeof(numbers));
}

/* --- whether a segment can hold any ------------------------------------------------------ */

static bool overlaps(const struct predicate *p, uint64_t min, uint64_t max)
{
	return p->low <= max && p->high >= min;
}

static bool any_value(const struct predicate *p, const struct zone_values *v)
{
	if (v->n > ZONE_MAX_VALUES)
		return true;
	for (size_t i = 0; i < v->n; i++)
		if (v->values[i] >= p->low && v->values[i] <= p->high)
			return true;
	return false;
}

static bool range_possible(const struct predicate *p, const struct zone *z)
{
	switch (p->column) {
	case FLOW_COLUMN_end_ms:
		return overlaps(p, z->min_end_ms, z->max_end_ms);
	case FLOW_COLUMN_start_ms:
		return overlaps(p, z->min_start_ms, z->max_end_ms);
	case FLOW_COLUMN_host_id:
		return any_value(p, &z->hosts);
	case FLOW_COLUMN_proto:
		return any_value(p, &z->protos);
	case FLOW_COLUMN_dst_port:
		return any_value(p, &z->dst_ports);
	default:
		return p->low <= p->high;
	}
}

static bool entry_possible(const struct predicate *p, const struct flow_block *dictionaries)
{
	if (!dictionaries)
		return true;
	if (p->kind == PREDICATE_PREFIX) {
		for (size_t i = 0; i < dictionaries->n_addrs; i++)
			if (addr_in_prefix(dictionaries->addrs[i], &p->prefix))
				return true;
		return false;
	}
	for (size_t i = 0; i < dictionaries->n_texts; i++)
		if (strcmp(dictionaries->texts[i], p->text) == 0)
			return true;
	return false;
}

bool zone_admits(const struct zone *zone, const struct predicate *p,
		 const struct flow_block *dictionaries)
{
	switch (p->kind) {
	case PREDICATE_RANGE:
		return range_possible(p, zone);
	case PREDICATE_PREFIX:
	case PREDICATE_TEXT:
		return entry_possible(p, dictionaries);
	case PREDICATE_ALL:
		for (size_t i = 0; i < p->n_children; i++)
			if (!zone_admits(zone, &p->children[i], dictionaries))
				return false;
		return true;
	case PREDICATE_ANY:
		for (size_t i = 0; i < p->n_children; i++)
			if (zone_admits(zone, &p->children[i], dictionaries))
				return true;
		return false;
	case PREDICATE_FALSE:
		return false;
	default:
		return true;
	}
}

bool zone_within(const struct zone *zone, const struct predicate *p)
{
	if (p->kind == PREDICATE_RANGE && p->column == FLOW_COLUMN_end_ms)
		return p->low <= zone->min_end_ms && p->high >= zone->max_end_ms;
	for (size_t i = 0; p->kind == PREDICATE_ALL && i < p->n_children; i++)
		if (!zone_within(zone, &p->children[i]))
			return false;
	return true;
}

bool zone_dictionaries_help(const struct predicate *p)
{
	if (p->kind == PREDICATE_PREFIX || p->kind == PREDICATE_TEXT)
		return true;
	if (p->kind == PREDICATE_NOT) /* that others are there, too, is no help */
		return false;
	for (size_t i = 0; i < p->n_children; i++)
		if (zone_dictionaries_help(&p->children[i]))
			return true;
	return false;
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/filter/filter_predicate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/filter/filter_tree.h"
#include "collector/flowstore/host_names.h"
#include "collector/flowstore/predicate.h"
#include "common/cleanup.h"
#include "proto/flow_words.h"

/* Arrays of children live until the whole does; they are listed to be freed. */
struct filter_predicate {
	struct predicate root;
	void **arrays;
	size_t n_arrays;
};

struct maker {
	const struct filter_tree *tree;
	const struct host_names *hosts;
	struct filter_predicate *f;
};

/* n children for p to have. */
static struct predicate *add_children(struct maker *m, struct predicate *p,
				      enum predicate_kind kind, size_t n)
{
	struct filter_predicate *f = m->f;
	void **arrays = realloc(f->arrays, (f->n_arrays + 1) * sizeof(*arrays));
	struct predicate *children;

	if (!arrays)
		return NULL;
	f->arrays = arrays;
	children = calloc(n ? n : 1, sizeof(*children));
	if (!children)
		return NULL;
	f->arrays[f->n_arrays++] = children;
	*p = (struct predicate){.kind = kind, .children = children, .n_children = n};
	return children;
}

static struct predicate range(enum flow_column c, uint64_t low, uint64_t high)
{
	return (struct predicate){.kind = PREDICATE_RANGE, .column = c, .low = low, .high = high};
}

/* --- comparisons ------------------------------------------------------------------ */

/* The values for which "value op n" holds, as one range or as what is outside of it. */
struct span {
	uint64_t low, high; /* low > high: none */
	bool outside;
};

/* Columns have no negative numbers, and the filter cannot write one. */
static struct span span_of(enum filter_compare op, uint64_t n)
{
	switch (op) {
	case FILTER_EQ:
		return (struct span){n, n, false};
	case FILTER_NE:
		return (struct span){n, n, true};
	case FILTER_LT:
		return n ? (struct span){0, n - 1, false} : (struct span){1, 0, false};
	case FILTER_LE:
		return (struct span){0, n, false};
	case FILTER_GT:
		return n == UINT64_MAX ? (struct span){1, 0, false}
				       : (struct span){n + 1, UINT64_MAX, false};
	default:
		return (struct span){n, UINT64_MAX, false};
	}
}

/* All values of the column but those of the span; a NULL is in neither. */
static int make_outside(struct maker *m, enum flow_column c, const struct span *s,
			struct predicate *ret)
{
	struct predicate *parts = add_children(m, ret, PREDICATE_ANY, 2);

	if (!parts)
		return -ENOMEM;
	parts[0] = s->low ? range(c, 0, s->low - 1) : range(c, 1, 0);
	parts[1] = s->high < UINT64_MAX ? range(c, s->high + 1, UINT64_MAX) : range(c, 1, 0);
	return 0;
}

static int make_span(struct maker *m, enum flow_column c, const struct span *s,
		     struct predicate *ret)
{
	if (s->outside)
		return make_outside(m, c, s, ret);
	*ret = range(c, s->low, s->high);
	return 0;
}

static bool in_span(uint64_t value, const struct span *s)
{
	return (value >= s->low && value <= s->high) != s->outside;
}

/* IP's version is that of src, 4 or 6. */
static int make_ip_version(struct maker *m, const struct span *s, struct predicate *ret)
{
	static const struct addr_prefix v4 = {{[10] = 0xff, [11] = 0xff}, 96};
	const struct predicate is_v4 = {
		.kind = PREDICATE_PREFIX, .column = FLOW_COLUMN_src_addr, .prefix = v4};
	bool four = in_span(4, s), six = in_span(6, s);
	struct predicate *child;

	if (four == six) {
		*ret = (struct predicate){.kind = four ? PREDICATE_TRUE : PREDICATE_FALSE};
	} else if (four) {
		*ret = is_v4;
	} else {
		child = add_children(m, ret, PREDICATE_NOT, 1);
		if (!child)
			return -ENOMEM;
		*child = is_v4;
	}
	return 0;
}

static int make_numbers(struct maker *m, const struct filter_node *node, const struct span *s,
			struct predicate *ret)
{
	if (strcmp(node->column, "ip_version") == 0)
		return make_ip_version(m, s, ret);
	return make_span(m, (enum flow_column)flow_column_find(node->column), s, ret);
}

/* --- texts ------------------------------------------------------------------------- */

/* Every host that has had the name. */
static int make_host(struct maker *m, const struct filter_node *node, struct predicate *ret)
{
	const struct predicate found = host_names_find(m->hosts, node->text);
	struct predicate *ids;

	if (found.kind != PREDICATE_ANY) {
		*ret = found;
		return 0;
	}
	*ret = (struct predicate){.kind = PREDICATE_FALSE};
	if (found.n_children == 0)
		return 0;
	ids = add_children(m, ret, PREDICATE_ANY, found.n_children);
	if (!ids)
		return -ENOMEM;
	memcpy(ids, found.children, found.n_children * sizeof(*ids));
	return 0;
}

/* Codes compare as their words do in SQL: those of the DNS with their case. */
static struct predicate code_is(enum flow_column c, const struct filter_node *node)
{
	char word[FLOW_WORD_MAX];
	uint32_t code;

	if (!flow_word_code(c, node->text, &code) ||
	    (!node->any_case && strcmp(flow_word(c, code, word), node->text) != 0))
		return (struct predicate){.kind = PREDICATE_FALSE};
	return range(c, code, code);
}

static int make_text(struct maker *m, const struct filter_node *node, struct predicate *ret)
{
	enum flow_column column;

	if (strcmp(node->column, "host") == 0)
		return make_host(m, node, ret);
	if (strcmp(node->column, "community_id") == 0) {
		*ret = (struct predicate){.kind = PREDICATE_COMMUNITY_ID, .text = node->text};
		return 0;
	}
	column = (enum flow_column)flow_column_find(node->column);
	if (flow_words_of(column))
		*ret = code_is(column, node);
	else
		*ret = (struct predicate){
			.kind = PREDICATE_TEXT, .column = column, .text = node->text};
	return 0;
}

/* --- the tree ------------------------------------------------------------------------ */

static int make(struct maker *m, size_t at, struct predicate *ret);

static int make_parent(struct maker *m, const struct filter_node *node, enum predicate_kind kind,
		       struct predicate *ret)
{
	struct predicate *children;
	size_t n = 0;
	int err = 0;

	for (size_t i = node->first; i != FILTER_NO_NODE; i = m->tree->nodes[i].next)
		n++;
	children = add_children(m, ret, kind, n);
	if (!children)
		return -ENOMEM;
	for (size_t i = node->first; !err && i != FILTER_NO_NODE; i = m->tree->nodes[i].next)
		err = make(m, i, children++);
	return err;
}

static int make(struct maker *m, size_t at, struct predicate *ret)
{
	const struct filter_node *node = &m->tree->nodes[at];
	struct span span = {(uint64_t)node->low, (uint64_t)node->high, false};
	int column;

	switch (node->kind) {
	case FILTER_ALL:
		*ret = (struct predicate){.kind = PREDICATE_TRUE};
		return 0;
	case FILTER_AND:
		return make_parent(m, node, PREDICATE_ALL, ret);
	case FILTER_OR:
		return make_parent(m, node, PREDICATE_ANY, ret);
	case FILTER_NOT:
		return make_parent(m, node, PREDICATE_NOT, ret);
	case FILTER_COMPARE:
		span = span_of(node->op, (uint64_t)node->low);
		return make_numbers(m, node, &span, ret);
	case FILTER_BETWEEN:
		return make_numbers(m, node, &span, ret);
	case FILTER_TEXT:
		return make_text(m, node, ret);
	default:
		column = flow_column_find(node->column); /* flags and addresses are there */
		*ret = (struct predicate){
			.kind = node->kind == FILTER_BITS ? PREDICATE_BITS : PREDICATE_PREFIX,
			.column = (enum flow_column)column,
			.low = span.low,
			.high = span.low,
			.prefix = node->prefix,
		};
		return 0;
	}
}

DEFINE_CLEANUP(struct filter_predicate *, filter_predicate_free)

int filter_predicate_new(const struct filter_tree *tree, const struct host_names *hosts,
			 struct filter_predicate **ret)
{
	cleanup(filter_predicate_free_p) struct filter_predicate *f = calloc(1, sizeof(*f));
	struct maker m = {.tree = tree, .hosts = hosts, .f = f};
	int err;

	if (!f)
		return -ENOMEM;
	err = make(&m, tree->root, &f->root);
	if (err)
		return err;
	*ret = take_ptr(f);
	return 0;
}

void filter_predicate_free(struct filter_predicate *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n_arrays; i++)
		free(f->arrays[i]);
	free(f->arrays);
	free(f);
}

const struct predicate *filter_predicate_root(const struct filter_predicate *f)
{
	return &f->root;
}

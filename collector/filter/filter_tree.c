// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/filter/filter_tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "collector/sqlite/query.h"

void filter_tree_free(struct filter_tree *tree)
{
	if (!tree)
		return;
	for (size_t i = 0; i < tree->n; i++)
		free(tree->nodes[i].text);
	free(tree->nodes);
	free(tree);
}

int filter_tree_add(struct filter_tree *tree, struct filter_node node, size_t *ret)
{
	if (tree->n == tree->max) {
		size_t max = tree->max ? tree->max * 2 : 16;
		struct filter_node *nodes = realloc(tree->nodes, max * sizeof(*nodes));

		if (!nodes) {
			free(node.text);
			return -ENOMEM;
		}
		tree->nodes = nodes;
		tree->max = max;
	}
	node.next = FILTER_NO_NODE;
	*ret = tree->n;
	tree->nodes[tree->n++] = node;
	return 0;
}

void filter_chain_add(struct filter_tree *tree, struct filter_chain *chain, size_t node)
{
	if (chain->first == FILTER_NO_NODE)
		chain->first = node;
	else
		tree->nodes[chain->last].next = node;
	chain->last = node;
}

static void add_node(const struct filter_tree *tree, size_t at, struct query *q);

static void add_children(const struct filter_tree *tree, const struct filter_node *node,
			 struct query *q)
{
	const char *between = node->kind == FILTER_AND ? " AND " : " OR ";

	query_add(q, "(");
	for (size_t i = node->first; i != FILTER_NO_NODE; i = tree->nodes[i].next) {
		if (i != node->first)
			query_add(q, "%s", between);
		add_node(tree, i, q);
	}
	query_add(q, ")");
}

/* A column of flows is its text; whole addresses compare as such. */
static void add_prefix(const struct filter_node *node, struct query *q)
{
	char addr[ADDR_TEXT_MAX], cidr[ADDR_TEXT_MAX + 4];
	bool v4 = addr_is_v4(node->prefix.addr) && node->prefix.len >= 96;

	(void)addr_format(node->prefix.addr, addr);
	if (node->prefix.len == 128) {
		query_add(q, "%s = ?%u", node->column, query_bind_text(q, addr));
		return;
	}
	(void)snprintf(cidr, sizeof(cidr), "%s/%u", addr, node->prefix.len - (v4 ? 96 : 0));
	query_add(q, "in_prefix(%s, ?%u)", node->column, query_bind_text(q, cidr));
}

/* NULL is not a match, whatever NOT stands before it: so ifnull. */
static void add_term(const struct filter_node *node, struct query *q)
{
	static const char *const ops[] = {"=", "<>", "<", "<=", ">", ">="};
	unsigned low, high;

	switch (node->kind) {
	case FILTER_COMPARE:
		low = query_bind_int(q, node->low);
		query_add(q, "ifnull(%s %s ?%u, 0)", node->column, ops[node->op], low);
		break;
	case FILTER_BETWEEN:
		low = query_bind_int(q, node->low);
		high = query_bind_int(q, node->high);
		query_add(q, "ifnull(%s BETWEEN ?%u AND ?%u, 0)", node->column, low, high);
		break;
	case FILTER_BITS:
		low = query_bind_int(q, node->low);
		query_add(q, "ifnull(%s & ?%u = ?%u, 0)", node->column, low, low);
		break;
	case FILTER_TEXT:
		low = query_bind_text(q, node->text);
		query_add(q, "ifnull(%s = ?%u%s, 0)", node->column, low,
			  node->any_case ? " COLLATE NOCASE" : "");
		break;
	default:
		add_prefix(node, q);
		break;
	}
}

static void add_node(const struct filter_tree *tree, size_t at, struct query *q)
{
	const struct filter_node *node = &tree->nodes[at];

	switch (node->kind) {
	case FILTER_ALL:
		query_add(q, "1");
		break;
	case FILTER_AND:
	case FILTER_OR:
		add_children(tree, node, q);
		break;
	case FILTER_NOT:
		query_add(q, "NOT ");
		add_node(tree, node->first, q);
		break;
	default:
		add_term(node, q);
		break;
	}
}

void filter_tree_sql(const struct filter_tree *tree, struct query *q)
{
	add_node(tree, tree->root, q);
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/filter/filter.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "collector/filter/filter_columns.h"
#include "collector/filter/filter_lexer.h"
#include "collector/filter/filter_tree.h"
#include "common/addr.h"
#include "common/array_size.h"
#include "common/cleanup.h"

DEFINE_CLEANUP(struct filter_tree *, filter_tree_free)

/* Which ends of a flow a condition is about. BOTH: each of them. */
enum side { SIDE_EITHER, SIDE_SRC, SIDE_DST, SIDE_BOTH };

struct parser {
	const char *text;
	struct filter_token token; /* the one that is looked at */
	struct filter_tree *tree;
	unsigned depth, terms;
	struct filter_error *error;
};

/* Functions that parse leave the node of what they read in *ret. */

/* --- errors and tokens --------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static int fail(struct parser *p, size_t at, const char *fmt,
						      ...)
{
	va_list ap;

	p->error->at = at;
	va_start(ap, fmt);
	(void)vsnprintf(p->error->text, sizeof(p->error->text), fmt, ap); /* cut is fine */
	va_end(ap);
	return -EINVAL;
}

static int out_of_memory(struct parser *p)
{
	(void)fail(p, 0, "out of memory");
	return -ENOMEM;
}

static int advance(struct parser *p)
{
	const char *why = filter_lex(p->text, p->token.end, &p->token);

	return why ? fail(p, p->token.at, "%s", why) : 0;
}

static bool at_word(const struct parser *p, const char *word)
{
	return p->token.kind == FILTER_TOKEN_WORD && !p->token.quoted &&
	       strcasecmp(p->token.word, word) == 0;
}

static bool at_equals(const struct parser *p)
{
	return p->token.kind == FILTER_TOKEN_OP && p->token.op == FILTER_EQ;
}

static int expect_word(struct parser *p, const char *what)
{
	return p->token.kind == FILTER_TOKEN_WORD ? 0
						  : fail(p, p->token.at, "expected %s here", what);
}

static int count_term(struct parser *p)
{
	if (++p->terms > FILTER_MAX_TERMS)
		return fail(p, p->token.at, "more than %d terms", FILTER_MAX_TERMS);
	return 0;
}

/* --- nodes ---------------------------------------------------------------------- */

static int add_node(struct parser *p, struct filter_node node, size_t *ret)
{
	return filter_tree_add(p->tree, node, ret) ? out_of_memory(p) : 0;
}

/* A node of kind over the list of children that begins with first; of one child, that child. */
static int add_parent(struct parser *p, enum filter_node_kind kind, size_t first, size_t *ret)
{
	if (kind != FILTER_NOT && p->tree->nodes[first].next == FILTER_NO_NODE) {
		*ret = first;
		return 0;
	}
	return add_node(p, (struct filter_node){.kind = kind, .first = first}, ret);
}

static int add_text(struct parser *p, const char *column, bool any_case, size_t *ret)
{
	struct filter_node node = {.kind = FILTER_TEXT,
				   .column = column,
				   .any_case = any_case,
				   .text = strdup(p->token.word)};

	return node.text ? add_node(p, node, ret) : out_of_memory(p);
}

/* node over the column of the side, or over both columns. */
static int add_sided(struct parser *p, enum side side, const char *src, const char *dst,
		     struct filter_node node, size_t *ret)
{
	const char *const columns[] = {src, dst};
	struct filter_chain chain = FILTER_CHAIN_EMPTY;

	for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
		size_t n = FILTER_NO_NODE;
		int err;

		if (side == (i == 0 ? SIDE_DST : SIDE_SRC))
			continue;
		node.column = columns[i];
		err = add_node(p, node, &n);
		if (err)
			return err;
		filter_chain_add(p->tree, &chain, n);
	}
	return add_parent(p, side == SIDE_BOTH ? FILTER_AND : FILTER_OR, chain.first, ret);
}

/* --- what stands after a keyword: each reads p->token, which is a word ---------- */

struct term {
	enum side side;
	const char *column;
	enum filter_unit unit;
	const char *values;
};

static int read_address(struct parser *p, const struct term *term, size_t *ret)
{
	struct filter_node node = {.kind = FILTER_PREFIX, .prefix.len = 128};

	if (addr_parse(p->token.word, node.prefix.addr))
		return fail(p, p->token.at, "not an IP address%s",
			    strchr(p->token.word, '/') ? "; for a prefix write net" : "");
	return add_sided(p, term->side, "src_addr", "dst_addr", node, ret);
}

static int read_host(struct parser *p, const struct term *term, size_t *ret)
{
	const char *word = p->token.word;
	bool like_address = strpbrk(word, ":/") || word[strspn(word, "0123456789.")] == '\0';
	uint8_t addr[16];

	if (like_address || term->side != SIDE_EITHER || addr_parse(word, addr) == 0)
		return read_address(p, term, ret);
	return add_text(p, "host", false, ret);
}

static int read_net(struct parser *p, const struct term *term, size_t *ret)
{
	struct filter_node node = {.kind = FILTER_PREFIX};

	if (addr_parse_prefix(p->token.word, &node.prefix))
		return fail(p, p->token.at, "not a prefix such as 10.0.0.0/8 or 2001:db8::/32");
	return add_sided(p, term->side, "src_addr", "dst_addr", node, ret);
}

static int read_port_number(struct parser *p, const char *word, int64_t *ret)
{
	if (word[strspn(word, "0123456789")] || filter_number(word, FILTER_UNIT_COUNT, ret) ||
	    *ret > UINT16_MAX)
		return fail(p, p->token.at, "a port is a number up to 65535, or two: 8000-8999");
	return 0;
}

static int read_port(struct parser *p, const struct term *term, size_t *ret)
{
	struct filter_node node = {.kind = FILTER_COMPARE, .op = FILTER_EQ};
	char *high_word = strchr(p->token.word, '-');
	int err;

	if (high_word) {
		node.kind = FILTER_BETWEEN;
		*high_word++ = '\0';
	}
	err = read_port_number(p, p->token.word, &node.low);
	if (!err && high_word)
		err = read_port_number(p, high_word, &node.high);
	if (!err && high_word && node.low > node.high)
		err = fail(p, p->token.at, "the lower port comes first");
	return err ? err : add_sided(p, term->side, "src_port", "dst_port", node, ret);
}

static int read_proto(struct parser *p, const struct term *term, size_t *ret)
{
	struct filter_node node = {.kind = FILTER_COMPARE, .op = FILTER_EQ, .column = "proto"};
	uint8_t proto;

	(void)term; /* has no side: see keywords */
	if (proto_parse(p->token.word, &proto))
		return fail(p, p->token.at, "not a protocol name or a number up to 255");
	node.low = proto;
	return add_node(p, node, ret);
}

/* Without a side: of what src sent. */
static int read_flags(struct parser *p, const struct term *term, size_t *ret)
{
	static const char letters[] = "FSRPAUECN"; /* bits 0 to 8 */
	enum side side = term->side == SIDE_EITHER ? SIDE_SRC : term->side;
	struct filter_node node = {.kind = FILTER_BITS};

	for (const char *c = p->token.word; *c; c++) {
		const char *letter = strchr(letters, *c & ~0x20);

		if (!letter || !*letter)
			return fail(p, p->token.at, "flags are letters out of %s", letters);
		node.low |= 1 << (letter - letters);
	}
	return add_sided(p, side, "tcp_flags", "rev_tcp_flags", node, ret);
}

static int read_number(struct parser *p, const struct term *term, size_t *ret)
{
	struct filter_node node = {.kind = FILTER_COMPARE, .op = FILTER_EQ, .column = term->column};
	const char *why = filter_number(p->token.word, term->unit, &node.low);

	return why ? fail(p, p->token.at, "%s", why) : add_node(p, node, ret);
}

/* Whether word is one of the '|'-separated words. */
static bool one_of(const char *words, const char *word)
{
	size_t len = strlen(word);

	for (const char *w = words; w; w = strchr(w, '|')) {
		w += *w == '|';
		if (strncasecmp(w, word, len) == 0 && (w[len] == '|' || w[len] == '\0'))
			return true;
	}
	return false;
}

static int read_text(struct parser *p, const struct term *term, size_t *ret)
{
	if (term->values && !one_of(term->values, p->token.word))
		return fail(p, p->token.at, "%s is one of %s", term->column, term->values);
	return add_text(p, term->column, term->values != NULL, ret);
}

/* --- terms ---------------------------------------------------------------------- */

struct keyword {
	const char *word;
	int (*read)(struct parser *p, const struct term *term, size_t *ret);
	const char *value; /* in words */
	bool sided;
};

static const struct keyword keywords[] = {
	{"host", read_host, "an address or a host name", true},
	{"ip", read_address, "an address", true},
	{"net", read_net, "a prefix such as 10.0.0.0/8", true},
	{"port", read_port, "a port, A-B or in [list]", true},
	{"portrange", read_port, "two ports: 8000-8999", true},
	{"flags", read_flags, "letters such as SA", true},
	{"proto", read_proto, "a protocol name or number", false},
};
static const struct keyword number_keyword = {NULL, read_number, "a comparison such as > 10",
					      false};
static const struct keyword text_keyword = {NULL, read_text, "a name", false};

/* Terms of one word. */
static const struct {
	const char *word, *column;
	int64_t value;
} plain_terms[] = {
	{"tcp", "proto", 6},	 {"udp", "proto", 17},	   {"icmp", "proto", 1},
	{"icmp6", "proto", 58},	 {"icmpv6", "proto", 58},  {"sctp", "proto", 132},
	{"ip", "ip_version", 4}, {"ip6", "ip_version", 6},
};

static int parse_value(struct parser *p, const struct keyword *k, const struct term *term,
		       size_t *ret)
{
	int err = expect_word(p, k->value);

	if (!err)
		err = count_term(p);
	if (!err)
		err = k->read(p, term, ret);
	return err ? err : advance(p);
}

/* "[ a, b c ]": any of them. */
static int parse_list(struct parser *p, const struct keyword *k, const struct term *term,
		      size_t *ret)
{
	struct filter_chain chain = FILTER_CHAIN_EMPTY;
	int err;

	if (p->token.kind != FILTER_TOKEN_LIST_OPEN)
		return fail(p, p->token.at, "expected [ here, as in: port in [80,443]");
	err = advance(p);
	while (!err) {
		size_t node = FILTER_NO_NODE;

		err = parse_value(p, k, term, &node);
		if (err)
			break;
		filter_chain_add(p->tree, &chain, node);
		if (p->token.kind == FILTER_TOKEN_LIST_CLOSE)
			break;
		if (p->token.kind == FILTER_TOKEN_COMMA)
			err = advance(p);
	}
	if (!err)
		err = add_parent(p, FILTER_OR, chain.first, ret);
	return err ? err : advance(p);
}

/* "> N", of a port or a number. */
static int parse_comparison(struct parser *p, const struct keyword *k, const struct term *term,
			    size_t *ret)
{
	struct filter_node node = {
		.kind = FILTER_COMPARE, .op = p->token.op, .column = term->column};
	const char *why;
	int err = advance(p);

	if (!err)
		err = expect_word(p, k == &number_keyword ? k->value : "a port");
	if (err)
		return err;
	if (k == &number_keyword) {
		why = filter_number(p->token.word, term->unit, &node.low);
		err = why ? fail(p, p->token.at, "%s", why) : add_node(p, node, ret);
	} else {
		err = read_port_number(p, p->token.word, &node.low);
		if (!err)
			err = add_sided(p, term->side, "src_port", "dst_port", node, ret);
	}
	return err ? err : advance(p);
}

/* What follows a keyword or the name of a column. */
static int parse_operand(struct parser *p, const struct keyword *k, const struct term *term,
			 size_t *ret)
{
	int err = advance(p);

	if (err)
		return err;
	if (at_word(p, "in")) {
		err = advance(p);
		return err ? err : parse_list(p, k, term, ret);
	}
	if (p->token.kind == FILTER_TOKEN_OP && (k == &number_keyword || k->read == read_port))
		return parse_comparison(p, k, term, ret);
	if (at_equals(p))
		err = advance(p);
	return err ? err : parse_value(p, k, term, ret);
}

/* "ip" and "ip6" alone name a version; "ip ADDR" an address. */
static bool is_bare_ip(const struct parser *p)
{
	struct filter_token next;
	uint8_t addr[16];

	if (!at_word(p, "ip") || filter_lex(p->text, p->token.end, &next))
		return false;
	if (next.kind == FILTER_TOKEN_OP)
		return false;
	return next.kind != FILTER_TOKEN_WORD || next.quoted ||
	       (addr_parse(next.word, addr) && strcasecmp(next.word, "in") != 0);
}

static const struct keyword *find_keyword(const struct parser *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(keywords); i++) {
		if (at_word(p, keywords[i].word))
			return &keywords[i];
	}
	return NULL;
}

/* Of "src or dst", "src and dst" the second half. */
static int parse_second_side(struct parser *p, enum side *side)
{
	bool both = p->token.kind == FILTER_TOKEN_AND;
	enum side other = *side == SIDE_SRC ? SIDE_DST : SIDE_SRC;
	int err = advance(p);

	if (err)
		return err;
	if (!at_word(p, other == SIDE_SRC ? "src" : "dst"))
		return fail(p, p->token.at, "expected %s here", other == SIDE_SRC ? "src" : "dst");
	*side = both ? SIDE_BOTH : SIDE_EITHER;
	return advance(p);
}

/* "src", "dst", or both, and a keyword that has sides. */
static int parse_side(struct parser *p, size_t *ret)
{
	struct term term = {.side = at_word(p, "src") ? SIDE_SRC : SIDE_DST};
	const char *word = term.side == SIDE_SRC ? "src" : "dst";
	const struct keyword *k;
	int err = advance(p);

	if (!err && (p->token.kind == FILTER_TOKEN_AND || p->token.kind == FILTER_TOKEN_OR))
		err = parse_second_side(p, &term.side);
	if (err)
		return err;
	k = find_keyword(p);
	if (!k || !k->sided)
		return fail(p, p->token.at, "expected host, ip, net, port or flags after %s", word);
	return parse_operand(p, k, &term, ret);
}

static int parse_plain(struct parser *p, bool *ret_plain, size_t *ret)
{
	struct filter_node node = {.kind = FILTER_COMPARE, .op = FILTER_EQ};
	int err;

	*ret_plain = false;
	for (size_t i = 0; i < ARRAY_SIZE(plain_terms); i++) {
		if (!at_word(p, plain_terms[i].word))
			continue;
		*ret_plain = true;
		node.column = plain_terms[i].column;
		node.low = plain_terms[i].value;
		err = add_node(p, node, ret);
		return err ? err : advance(p);
	}
	return 0;
}

/* *ret_plain: it was one word, such as tcp. */
static int parse_term(struct parser *p, bool *ret_plain, size_t *ret)
{
	struct filter_number_column number;
	struct filter_text_column text;
	struct term term = {.side = SIDE_EITHER};
	const struct keyword *k;
	int err = expect_word(p, "a condition such as port 443");

	*ret_plain = false;
	if (!err)
		err = count_term(p);
	if (err)
		return err;
	if (at_word(p, "src") || at_word(p, "dst"))
		return parse_side(p, ret);
	k = find_keyword(p);
	if (k && !is_bare_ip(p))
		return parse_operand(p, k, &term, ret);
	err = parse_plain(p, ret_plain, ret);
	if (err || *ret_plain)
		return err;
	if (!p->token.quoted && filter_number_column(p->token.word, &number)) {
		term.column = number.column;
		term.unit = number.unit;
		return parse_operand(p, &number_keyword, &term, ret);
	}
	if (!p->token.quoted && filter_text_column(p->token.word, &text)) {
		term.column = text.name;
		term.values = text.values;
		return parse_operand(p, &text_keyword, &term, ret);
	}
	return fail(p, p->token.at, "unknown word; 'help filter' lists them");
}

/* --- and, or, not --------------------------------------------------------------- */

static int parse_or(struct parser *p, size_t *ret);

static int parse_group(struct parser *p, size_t *ret)
{
	size_t open = p->token.at;
	int err = advance(p);

	if (!err)
		err = parse_or(p, ret);
	if (err)
		return err;
	if (p->token.kind != FILTER_TOKEN_CLOSE)
		return p->token.kind == FILTER_TOKEN_END
			       ? fail(p, open, "this parenthesis is never closed")
			       : fail(p, p->token.at, "expected and, or, ) here");
	return advance(p);
}

static int parse_not(struct parser *p, bool *ret_plain, size_t *ret)
{
	bool negation = p->token.kind == FILTER_TOKEN_NOT, plain;
	size_t child = FILTER_NO_NODE;
	int err;

	if (!negation && p->token.kind != FILTER_TOKEN_OPEN)
		return parse_term(p, ret_plain, ret);
	*ret_plain = false;
	if (++p->depth > FILTER_MAX_DEPTH)
		return fail(p, p->token.at, "more than %d levels of ( and not", FILTER_MAX_DEPTH);
	if (negation) {
		err = advance(p);
		if (!err)
			err = parse_not(p, &plain, &child);
		if (!err)
			err = add_parent(p, FILTER_NOT, child, ret);
	} else {
		err = parse_group(p, ret);
	}
	p->depth--;
	return err;
}

/* "tcp port 80", as tcpdump has it, needs no and. */
static bool follows_plain(const struct parser *p)
{
	const struct keyword *k = find_keyword(p);

	return at_word(p, "src") || at_word(p, "dst") || (k && k->sided && !is_bare_ip(p));
}

static int parse_and(struct parser *p, size_t *ret)
{
	struct filter_chain chain = FILTER_CHAIN_EMPTY;
	int err;

	while (true) {
		size_t node = FILTER_NO_NODE;
		bool plain = false;

		err = parse_not(p, &plain, &node);
		if (err)
			return err;
		filter_chain_add(p->tree, &chain, node);
		if (p->token.kind == FILTER_TOKEN_AND) {
			err = advance(p);
			if (err)
				return err;
		} else if (!plain || !follows_plain(p)) {
			return add_parent(p, FILTER_AND, chain.first, ret);
		}
	}
}

static int parse_or(struct parser *p, size_t *ret)
{
	struct filter_chain chain = FILTER_CHAIN_EMPTY;
	int err;

	while (true) {
		size_t node = FILTER_NO_NODE;

		err = parse_and(p, &node);
		if (err)
			return err;
		filter_chain_add(p->tree, &chain, node);
		if (p->token.kind != FILTER_TOKEN_OR)
			return add_parent(p, FILTER_OR, chain.first, ret);
		err = advance(p);
		if (err)
			return err;
	}
}

int filter_parse(const char *text, struct filter_tree **ret, struct filter_error *ret_error)
{
	cleanup(filter_tree_free_p) struct filter_tree *tree = calloc(1, sizeof(*tree));
	struct parser p = {.text = text, .tree = tree, .error = ret_error};
	int err;

	if (!tree)
		return out_of_memory(&p);
	if (strlen(text) > FILTER_MAX_BYTES)
		return fail(&p, FILTER_MAX_BYTES, "longer than %d bytes", FILTER_MAX_BYTES);
	err = advance(&p);
	if (err)
		return err;
	if (p.token.kind == FILTER_TOKEN_END)
		err = add_node(&p, (struct filter_node){.kind = FILTER_ALL}, &tree->root);
	else
		err = parse_or(&p, &tree->root);
	if (!err && p.token.kind != FILTER_TOKEN_END)
		err = fail(&p, p.token.at, "expected and, or, or the end here");
	if (err)
		return err;
	*ret = take_ptr(tree);
	return 0;
}

int filter_compile(const char *text, struct query *q, struct filter_error *ret_error)
{
	cleanup(filter_tree_free_p) struct filter_tree *tree = NULL;
	int err = filter_parse(text, &tree, ret_error);

	if (!err)
		filter_tree_sql(tree, q);
	return err;
}

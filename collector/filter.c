// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/filter.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "collector/filter_lexer.h"
#include "collector/query.h"
#include "common/addr.h"
#include "common/output.h"
#include "proto/flow_columns.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

enum side { SIDE_EITHER, SIDE_SRC, SIDE_DST };

struct parser {
	const char *text;
	struct filter_token token; /* the one that is looked at */
	struct query *q;
	unsigned depth, terms;
	struct filter_error *error;
};

/* Numbers that a record does not carry as they are, and short names. */
static const struct number_column {
	const char *name, *column;
	enum filter_unit unit;
} number_columns[] = {
	{"retrans", "retrans_pkts", FILTER_UNIT_COUNT},
	{"rev_retrans", "rev_retrans_pkts", FILTER_UNIT_COUNT},
	{"duration", "duration_us", FILTER_UNIT_TIME},
	{"duration_us", "duration_us", FILTER_UNIT_US},
	{"rtt", "rtt_us", FILTER_UNIT_TIME},
	{"rtt_client", "rtt_client_us", FILTER_UNIT_TIME},
	{"rtt_server", "rtt_server_us", FILTER_UNIT_TIME},
	{"ip_version", "ip_version", FILTER_UNIT_COUNT},
	{"start_ms", "start_ms", FILTER_UNIT_COUNT},
	{"end_ms", "end_ms", FILTER_UNIT_COUNT},
	{"host_id", "host_id", FILTER_UNIT_COUNT},
};

/* All the others, under their own names; those that end in _us are times. */
#define NAME(name, max, has) #name,
static const char *const record_numbers[] = {FLOW_COUNTERS(NAME) FLOW_NUMBERS(NAME)};
#undef NAME

/* Columns that hold text. values: what they can be; NULL: anything. */
static const struct text_column {
	const char *name, *values;
} text_columns[] = {
#define ANY_TEXT(name, max, has) {#name, NULL},
	FLOW_TEXTS(ANY_TEXT)
#undef ANY_TEXT
		{"role", "client|server|unknown"},
	{"direction", "ingress|egress|unknown"},
	{"end_reason", "idle|active|end|forced|no_resources"},
	{"tunnel", "ipip|gre|erspan|vxlan|geneve|gtpu|teredo"},
	{"verdict", "syn_unanswered|refused|half_open|established|closed|reset|timed_out"},
	{"community_id", NULL},
	{"dns_qname", NULL},
	{"dns_qtype", NULL},
	{"dns_rcode", NULL},
	{"tls_sni", NULL},
	{"tls_alpn", NULL},
};

/* Terms of one word. */
static const struct {
	const char *word, *condition;
} plain_terms[] = {
	{"tcp", "proto = 6"},	  {"udp", "proto = 17"},     {"icmp", "proto = 1"},
	{"icmp6", "proto = 58"},  {"icmpv6", "proto = 58"},  {"sctp", "proto = 132"},
	{"ip", "ip_version = 4"}, {"ip6", "ip_version = 6"},
};

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
	return p->token.kind == FILTER_TOKEN_OP && strcmp(p->token.op, "=") == 0;
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

static int expect_word(struct parser *p, const char *what)
{
	return p->token.kind == FILTER_TOKEN_WORD ? 0
						  : fail(p, p->token.at, "expected %s here", what);
}

/* "(before src_column after OR before dst_column after)", or the one side. */
static void add_sided(struct parser *p, enum side side, const char *before, const char *column,
		      const char *after)
{
	if (side == SIDE_EITHER)
		query_add(p->q, "(%ssrc_%s%s OR %sdst_%s%s)", before, column, after, before, column,
			  after);
	else
		query_add(p->q, "%s%s_%s%s", before, side == SIDE_SRC ? "src" : "dst", column,
			  after);
}

/* --- what stands after a keyword: each reads p->token, which is a word ------- */

static int add_address(struct parser *p, enum side side)
{
	const char *word = p->token.word;
	char canonical[ADDR_TEXT_MAX], after[32];
	uint8_t addr[16];

	if (addr_parse(word, addr))
		return fail(p, p->token.at, "not an IP address%s",
			    strchr(word, '/') ? "; for a prefix write net" : "");
	(void)snprintf(after, sizeof(after), " = ?%u",
		       query_bind_text(p->q, addr_format(addr, canonical)));
	add_sided(p, side, "", "addr", after);
	return 0;
}

static int add_host(struct parser *p, enum side side)
{
	const char *word = p->token.word;
	bool like_address = strpbrk(word, ":/") || word[strspn(word, "0123456789.")] == '\0';
	uint8_t addr[16];

	if (like_address || side != SIDE_EITHER || addr_parse(word, addr) == 0)
		return add_address(p, side);
	query_add(p->q, "host = ?%u", query_bind_text(p->q, word));
	return 0;
}

static int add_net(struct parser *p, enum side side)
{
	struct addr_prefix prefix;
	char after[32];

	if (addr_parse_prefix(p->token.word, &prefix))
		return fail(p, p->token.at, "not a prefix such as 10.0.0.0/8 or 2001:db8::/32");
	(void)snprintf(after, sizeof(after), ", ?%u)", query_bind_text(p->q, p->token.word));
	add_sided(p, side, "in_prefix(", "addr", after);
	return 0;
}

static int read_port(struct parser *p, const char *word, int64_t *ret)
{
	if (word[strspn(word, "0123456789")] || filter_number(word, FILTER_UNIT_COUNT, ret) ||
	    *ret > UINT16_MAX)
		return fail(p, p->token.at, "a port is a number up to 65535, or two: 8000-8999");
	return 0;
}

static int add_port(struct parser *p, enum side side)
{
	char *high_word = strchr(p->token.word, '-');
	char after[64];
	int64_t low = 0, high = 0;
	int err;

	if (high_word)
		*high_word++ = '\0';
	err = read_port(p, p->token.word, &low);
	if (!err && high_word)
		err = read_port(p, high_word, &high);
	if (err)
		return err;
	if (high_word) {
		if (low > high)
			return fail(p, p->token.at, "the lower port comes first");
		(void)snprintf(after, sizeof(after), " BETWEEN ?%u AND ?%u",
			       query_bind_int(p->q, low), query_bind_int(p->q, high));
	} else {
		(void)snprintf(after, sizeof(after), " = ?%u", query_bind_int(p->q, low));
	}
	add_sided(p, side, "", "port", after);
	return 0;
}

static int add_proto(struct parser *p, enum side side)
{
	uint8_t proto;

	(void)side; /* has none: see keywords */
	if (proto_parse(p->token.word, &proto))
		return fail(p, p->token.at, "not a protocol name or a number up to 255");
	query_add(p->q, "proto = ?%u", query_bind_int(p->q, proto));
	return 0;
}

static int add_flags(struct parser *p, enum side side)
{
	static const char letters[] = "FSRPAUECN"; /* bits 0 to 8 */
	const char *column = side == SIDE_DST ? "rev_tcp_flags" : "tcp_flags";
	int64_t mask = 0;
	unsigned n;

	for (const char *c = p->token.word; *c; c++) {
		const char *letter = strchr(letters, *c & ~0x20);

		if (!letter || !*letter)
			return fail(p, p->token.at, "flags are letters out of %s", letters);
		mask |= 1 << (letter - letters);
	}
	n = query_bind_int(p->q, mask);
	query_add(p->q, "ifnull(%s & ?%u = ?%u, 0)", column, n, n);
	return 0;
}

static const struct keyword {
	const char *word;
	int (*add)(struct parser *p, enum side side);
	const char *value; /* in words */
	bool sided;
} keywords[] = {
	{"host", add_host, "an address or a host name", true},
	{"ip", add_address, "an address", true},
	{"net", add_net, "a prefix such as 10.0.0.0/8", true},
	{"port", add_port, "a port, A-B or in [list]", true},
	{"flags", add_flags, "letters such as SA", true},
	{"proto", add_proto, "a protocol name or number", false},
};

/* --- terms ------------------------------------------------------------------- */

static int count_term(struct parser *p)
{
	if (++p->terms > FILTER_MAX_TERMS)
		return fail(p, p->token.at, "more than %d terms", FILTER_MAX_TERMS);
	return 0;
}

/* One value of a keyword, and what follows it. */
static int parse_value(struct parser *p, const struct keyword *k, enum side side)
{
	int err = expect_word(p, k->value);

	if (!err)
		err = count_term(p);
	if (!err)
		err = k->add(p, side);
	return err ? err : advance(p);
}

/* "[ a, b c ]": any of them. */
static int parse_list(struct parser *p, const struct keyword *k, enum side side)
{
	int err;

	if (p->token.kind != FILTER_TOKEN_LIST_OPEN)
		return fail(p, p->token.at, "expected [ here, as in: port in [80,443]");
	err = advance(p);
	query_add(p->q, "(");
	for (bool first = true; !err; first = false) {
		if (!first)
			query_add(p->q, " OR ");
		err = parse_value(p, k, side);
		if (!err && p->token.kind == FILTER_TOKEN_LIST_CLOSE)
			break;
		if (!err && p->token.kind == FILTER_TOKEN_COMMA)
			err = advance(p);
	}
	query_add(p->q, ")");
	return err ? err : advance(p);
}

static int parse_port_comparison(struct parser *p, enum side side)
{
	const char *op = p->token.op;
	int64_t port = 0;
	char after[32];
	int err = advance(p);

	if (!err)
		err = expect_word(p, "a port");
	if (!err)
		err = read_port(p, p->token.word, &port);
	if (err)
		return err;
	(void)snprintf(after, sizeof(after), " %s ?%u", op, query_bind_int(p->q, port));
	add_sided(p, side, "", "port", after);
	return advance(p);
}

static int parse_keyword(struct parser *p, const struct keyword *k, enum side side)
{
	int err = advance(p);

	if (err)
		return err;
	if (at_word(p, "in")) {
		err = advance(p);
		return err ? err : parse_list(p, k, side);
	}
	if (p->token.kind == FILTER_TOKEN_OP && k->add == add_port)
		return parse_port_comparison(p, side);
	if (at_equals(p))
		err = advance(p);
	return err ? err : parse_value(p, k, side);
}

static int parse_number_column(struct parser *p, const struct number_column *c)
{
	const char *op = "=", *why;
	int64_t value;
	int err = advance(p);

	if (!err && p->token.kind == FILTER_TOKEN_OP) {
		op = p->token.op;
		err = advance(p);
	}
	if (!err)
		err = expect_word(p, "a comparison such as > 10");
	if (err)
		return err;
	why = filter_number(p->token.word, c->unit, &value);
	if (why)
		return fail(p, p->token.at, "%s", why);
	query_add(p->q, "ifnull(%s %s ?%u, 0)", c->column, op, query_bind_int(p->q, value));
	return advance(p);
}

static int parse_text_column(struct parser *p, const struct text_column *c)
{
	int err = advance(p);

	if (!err && at_equals(p))
		err = advance(p);
	if (!err)
		err = expect_word(p, "a name");
	if (err)
		return err;
	if (c->values && !one_of(c->values, p->token.word))
		return fail(p, p->token.at, "%s is one of %s", c->name, c->values);
	query_add(p->q, "ifnull(%s = ?%u%s, 0)", c->name, query_bind_text(p->q, p->token.word),
		  c->values ? " COLLATE NOCASE" : "");
	return advance(p);
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

/* "src" or "dst" and a keyword that has sides. */
static int parse_side(struct parser *p)
{
	enum side side = at_word(p, "src") ? SIDE_SRC : SIDE_DST;
	const struct keyword *k;
	int err = advance(p);

	if (err)
		return err;
	k = find_keyword(p);
	if (!k || !k->sided)
		return fail(p, p->token.at, "expected host, ip, net, port or flags after %s",
			    side == SIDE_SRC ? "src" : "dst");
	return parse_keyword(p, k, side);
}

static enum filter_unit unit_of(const char *name)
{
	const char *last = strrchr(name, '_');

	return last && strcmp(last, "_us") == 0 ? FILTER_UNIT_US : FILTER_UNIT_COUNT;
}

static bool find_number(const struct parser *p, struct number_column *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(number_columns); i++) {
		if (at_word(p, number_columns[i].name)) {
			*ret = number_columns[i];
			return true;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(record_numbers); i++) {
		const char *name = record_numbers[i];

		if (at_word(p, name)) {
			*ret = (struct number_column){name, name, unit_of(name)};
			return true;
		}
	}
	return false;
}

static int parse_term(struct parser *p)
{
	struct number_column number;
	const struct keyword *k;
	int err = expect_word(p, "a condition such as port 443");

	if (!err)
		err = count_term(p);
	if (err)
		return err;
	if (at_word(p, "src") || at_word(p, "dst"))
		return parse_side(p);
	k = find_keyword(p);
	if (k && !is_bare_ip(p))
		return parse_keyword(p, k, SIDE_EITHER);
	for (size_t i = 0; i < ARRAY_SIZE(plain_terms); i++) {
		if (at_word(p, plain_terms[i].word)) {
			query_add(p->q, "%s", plain_terms[i].condition);
			return advance(p);
		}
	}
	if (find_number(p, &number))
		return parse_number_column(p, &number);
	for (size_t i = 0; i < ARRAY_SIZE(text_columns); i++) {
		if (at_word(p, text_columns[i].name))
			return parse_text_column(p, &text_columns[i]);
	}
	return fail(p, p->token.at, "unknown word; 'help filter' lists them");
}

/* --- and, or, not ------------------------------------------------------------ */

static int parse_or(struct parser *p);

static int parse_group(struct parser *p)
{
	size_t open = p->token.at;
	int err = advance(p);

	query_add(p->q, "(");
	if (!err)
		err = parse_or(p);
	if (err)
		return err;
	if (p->token.kind != FILTER_TOKEN_CLOSE)
		return p->token.kind == FILTER_TOKEN_END
			       ? fail(p, open, "this parenthesis is never closed")
			       : fail(p, p->token.at, "expected and, or, ) here");
	query_add(p->q, ")");
	return advance(p);
}

static int parse_not(struct parser *p)
{
	bool negation = p->token.kind == FILTER_TOKEN_NOT;
	int err;

	if (!negation && p->token.kind != FILTER_TOKEN_OPEN)
		return parse_term(p);
	if (++p->depth > FILTER_MAX_DEPTH)
		return fail(p, p->token.at, "more than %d levels of ( and not", FILTER_MAX_DEPTH);
	if (negation) {
		query_add(p->q, "NOT ");
		err = advance(p);
		if (!err)
			err = parse_not(p);
	} else {
		err = parse_group(p);
	}
	p->depth--;
	return err;
}

static int parse_and(struct parser *p)
{
	int err = parse_not(p);

	while (!err && p->token.kind == FILTER_TOKEN_AND) {
		query_add(p->q, " AND ");
		err = advance(p);
		if (!err)
			err = parse_not(p);
	}
	return err;
}

static int parse_or(struct parser *p)
{
	int err = parse_and(p);

	while (!err && p->token.kind == FILTER_TOKEN_OR) {
		query_add(p->q, " OR ");
		err = advance(p);
		if (!err)
			err = parse_and(p);
	}
	return err;
}

int filter_compile(const char *text, struct query *q, struct filter_error *ret_error)
{
	struct parser p = {.text = text, .q = q, .error = ret_error};
	int err;

	if (strlen(text) > FILTER_MAX_BYTES)
		return fail(&p, FILTER_MAX_BYTES, "longer than %d bytes", FILTER_MAX_BYTES);
	err = advance(&p);
	if (err)
		return err;
	if (p.token.kind == FILTER_TOKEN_END) {
		query_add(q, "1");
		return 0;
	}
	query_add(q, "(");
	err = parse_or(&p);
	if (err)
		return err;
	if (p.token.kind != FILTER_TOKEN_END)
		return fail(&p, p.token.at, "expected and, or, or the end here");
	query_add(q, ")");
	return 0;
}

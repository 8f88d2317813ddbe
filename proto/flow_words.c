// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "proto/flow_words.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct word {
	uint32_t code;
	const char *word;
};

static const struct word directions[] = {
	{FLOW_DIRECTION_UNKNOWN, "unknown"},
	{FLOW_DIRECTION_INGRESS, "ingress"},
	{FLOW_DIRECTION_EGRESS, "egress"},
};

static const struct word roles[] = {
	{FLOW_ROLE_UNKNOWN, "unknown"},
	{FLOW_ROLE_CLIENT, "client"},
	{FLOW_ROLE_SERVER, "server"},
};

static const struct word end_reasons[] = {
	{FLOW_END_IDLE, "idle"},
	{FLOW_END_ACTIVE, "active"},
	{FLOW_END_DETECTED, "end"},
	{FLOW_END_FORCED, "forced"},
	{FLOW_END_NO_RESOURCES, "no_resources"},
};

static const struct word tunnels[] = {
	{FLOW_ENCAP_IPIP, "ipip"},     {FLOW_ENCAP_GRE, "gre"},	      {FLOW_ENCAP_ERSPAN, "erspan"},
	{FLOW_ENCAP_VXLAN, "vxlan"},   {FLOW_ENCAP_GENEVE, "geneve"}, {FLOW_ENCAP_GTPU, "gtpu"},
	{FLOW_ENCAP_TEREDO, "teredo"},
};

static const struct word verdicts[] = {
	{FLOW_VERDICT_SYN_UNANSWERED, "syn_unanswered"},
	{FLOW_VERDICT_REFUSED, "refused"},
	{FLOW_VERDICT_HALF_OPEN, "half_open"},
	{FLOW_VERDICT_ESTABLISHED, "established"},
	{FLOW_VERDICT_CLOSED, "closed"},
	{FLOW_VERDICT_RESET, "reset"},
	{FLOW_VERDICT_TIMED_OUT, "timed_out"},
};

static const struct word dns_types[] = {
	{1, "A"},	{2, "NS"},     {5, "CNAME"}, {6, "SOA"},    {10, "NULL"},  {12, "PTR"},
	{13, "HINFO"},	{15, "MX"},    {16, "TXT"},  {28, "AAAA"},  {29, "LOC"},   {33, "SRV"},
	{35, "NAPTR"},	{39, "DNAME"}, {43, "DS"},   {44, "SSHFP"}, {46, "RRSIG"}, {47, "NSEC"},
	{48, "DNSKEY"}, {50, "NSEC3"}, {52, "TLSA"}, {64, "SVCB"},  {65, "HTTPS"}, {251, "IXFR"},
	{252, "AXFR"},	{255, "ANY"},  {257, "CAA"},
};

static const struct word dns_rcodes[] = {
	{0, "NOERROR"}, {1, "FORMERR"}, {2, "SERVFAIL"}, {3, "NXDOMAIN"},
	{4, "NOTIMP"},	{5, "REFUSED"}, {6, "YXDOMAIN"}, {7, "YXRRSET"},
	{8, "NXRRSET"}, {9, "NOTAUTH"}, {10, "NOTZONE"},
};

static const struct list {
	enum flow_column column;
	const struct word *words;
	size_t n;
	const char *other; /* before the number of a code without a word; NULL: has none */
} lists[] = {
	{FLOW_COLUMN_direction, directions, ARRAY_SIZE(directions), NULL},
	{FLOW_COLUMN_role, roles, ARRAY_SIZE(roles), NULL},
	{FLOW_COLUMN_end_reason, end_reasons, ARRAY_SIZE(end_reasons), NULL},
	{FLOW_COLUMN_tunnel, tunnels, ARRAY_SIZE(tunnels), NULL},
	{FLOW_COLUMN_verdict, verdicts, ARRAY_SIZE(verdicts), NULL},
	{FLOW_COLUMN_dns_qtype, dns_types, ARRAY_SIZE(dns_types), "TYPE"},
	{FLOW_COLUMN_dns_rcode, dns_rcodes, ARRAY_SIZE(dns_rcodes), "RCODE"},
};

static const struct list *find(enum flow_column c)
{
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		if (lists[i].column == c)
			return &lists[i];
	return NULL;
}

bool flow_words_of(enum flow_column c)
{
	return find(c) != NULL;
}

const char *flow_word(enum flow_column c, uint32_t code, char ret[FLOW_WORD_MAX])
{
	const struct list *list = find(c);

	for (size_t i = 0; list && i < list->n; i++)
		if (list->words[i].code == code)
			return list->words[i].word;
	if (!list || !list->other)
		return NULL;
	(void)snprintf(ret, FLOW_WORD_MAX, "%s%u", list->other, code);
	return ret;
}

/* "TYPE123": a number of at most 9 digits, so that it fits. */
static bool other_code(const struct list *list, const char *word, uint32_t *ret)
{
	size_t len = list->other ? strlen(list->other) : 0;
	size_t digits;

	if (!len || strncasecmp(word, list->other, len) != 0)
		return false;
	digits = strspn(word + len, "0123456789");
	if (digits == 0 || digits > 9 || word[len + digits])
		return false;
	*ret = (uint32_t)strtoul(word + len, NULL, 10);
	return true;
}

bool flow_word_code(enum flow_column c, const char *word, uint32_t *ret)
{
	const struct list *list = find(c);

	for (size_t i = 0; list && i < list->n; i++) {
		if (strcasecmp(list->words[i].word, word) == 0) {
			*ret = list->words[i].code;
			return true;
		}
	}
	return list && other_code(list, word, ret);
}

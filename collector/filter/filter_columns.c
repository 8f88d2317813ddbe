// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/filter/filter_columns.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "common/array_size.h"
#include "proto/flow_columns.h"

/* Numbers that a record does not carry as they are, and short names. */
static const struct filter_number_column number_columns[] = {
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
static const struct filter_text_column text_columns[] = {
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

static enum filter_unit unit_of(const char *name)
{
	const char *last = strrchr(name, '_');

	return last && strcmp(last, "_us") == 0 ? FILTER_UNIT_US : FILTER_UNIT_COUNT;
}

bool filter_number_column(const char *word, struct filter_number_column *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(number_columns); i++) {
		if (strcasecmp(word, number_columns[i].name) == 0) {
			*ret = number_columns[i];
			return true;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(record_numbers); i++) {
		const char *name = record_numbers[i];

		if (strcasecmp(word, name) == 0) {
			*ret = (struct filter_number_column){name, name, unit_of(name)};
			return true;
		}
	}
	return false;
}

bool filter_text_column(const char *word, struct filter_text_column *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(text_columns); i++) {
		if (strcasecmp(word, text_columns[i].name) == 0) {
			*ret = text_columns[i];
			return true;
		}
	}
	return false;
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The file is read back by a reader that knows nothing but RFC 7011. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/db/ipfix.h"
#include "common/addr.h"
#include "common/array_size.h"
#include "common/clock.h"
#include "tests/unit/fail_alloc.h"

#define MAX_FIELDS  64
#define MAX_DOMAINS 8

struct field {
	uint16_t id, bytes;
	uint32_t enterprise;
};

struct template
{
	size_t n;
	struct field fields[MAX_FIELDS];
};

/* What is known of a domain, and how many records it gave. */
struct domain {
	uint32_t id, records;
	struct template v4, v6;
};

struct reading {
	struct domain domains[MAX_DOMAINS];
	size_t n_domains, messages;
	/* Sums and the last values over all records. */
	uint64_t packets, rev_packets, layer2_bytes, ended_ms;
	uint8_t src[16];
	char iface[IFACE_NAME_MAX];
	uint16_t icmp;
};

static uint64_t number(const uint8_t *at, size_t len)
{
	uint64_t value = 0;

	for (size_t i = 0; i < len; i++)
		value = value << 8 | at[i];
	return value;
}

static struct domain *domain_of(struct reading *r, uint32_t id)
{
	for (size_t i = 0; i < r->n_domains; i++) {
		if (r->domains[i].id == id)
			return &r->domains[i];
	}
	assert_true(r->n_domains < MAX_DOMAINS);
	r->domains[r->n_domains].id = id;
	return &r->domains[r->n_domains++];
}

static void read_templates(struct domain *d, const uint8_t *at, const uint8_t *end)
{
	while (at < end) {
		uint64_t id = number(at, 2);
		struct template *t = id == 256 ? &d->v4 : &d->v6;

		assert_true(id == 256 || id == 257);
		t->n = number(at + 2, 2);
		assert_true(t->n <= MAX_FIELDS);
		at += 4;
		for (size_t i = 0; i < t->n; i++) {
			struct field *f = &t->fields[i];

			f->id = (uint16_t)number(at, 2);
			f->bytes = (uint16_t)number(at + 2, 2);
			f->enterprise = 0;
			at += 4;
			if (f->id & 0x8000) {
				f->id &= 0x7fff;
				f->enterprise = (uint32_t)number(at, 4);
				at += 4;
			}
		}
	}
	assert_ptr_equal(at, end);
}

static void read_field(struct reading *r, const struct field *f, const uint8_t *at, size_t len)
{
	bool reverse = f->enterprise == 29305;

	assert_true(f->enterprise == 0 || reverse);
	if (f->id == 2 && reverse)
		r->rev_packets += number(at, len);
	else if (f->id == 2)
		r->packets += number(at, len);
	else if (f->id == 352 && !reverse)
		r->layer2_bytes += number(at, len);
	else if (f->id == 153)
		r->ended_ms = number(at, len);
	else if (f->id == 32 || f->id == 139)
		r->icmp = (uint16_t)number(at, len);
	else if (f->id == 8 || f->id == 27)
		memcpy(r->src, at, len);
	else if (f->id == 82)
		(void)snprintf(r->iface, sizeof(r->iface), "%.*s", (int)len, at);
}

static void read_records(struct reading *r, struct domain *d, const struct template *t,
			 const uint8_t *at, const uint8_t *end)
{
	assert_true(t->n > 0); /* its template came before */
	while (at < end) {
		for (size_t i = 0; i < t->n; i++) {
			size_t len = t->fields[i].bytes;

			if (len == 65535)
				len = *at++;
			assert_true(at + len <= end);
			read_field(r, &t->fields[i], at, len);
			at += len;
		}
		d->records++;
	}
	assert_ptr_equal(at, end);
}

static void read_message(struct reading *r, const uint8_t *at, const uint8_t *end)
{
	struct domain *d = domain_of(r, (uint32_t)number(at + 12, 4));

	assert_int_equal(number(at, 2), 10);
	assert_int_equal(number(at + 8, 4), d->records); /* the sequence number */
	for (at += 16; at < end;) {
		uint64_t id = number(at, 2), len = number(at + 2, 2);

		assert_true(len > 4 && at + len <= end);
		if (id == 2)
			read_templates(d, at + 4, at + len);
		else
			read_records(r, d, id == 256 ? &d->v4 : &d->v6, at + 4, at + len);
		at += len;
	}
	r->messages++;
}

static struct reading read_file(const char *data, size_t size)
{
	const uint8_t *at = (const uint8_t *)data, *end = at + size;
	struct reading r = {.n_domains = 0};

	while (at < end) {
		size_t len = number(at + 2, 2);

		assert_true(len >= 16 && at + len <= end);
		read_message(&r, at, at + len);
		at += len;
	}
	return r;
}

static struct flow_record sample(unsigned i)
{
	struct flow_record r = {
		.flow_id = i + 1,
		.start_ns = (1000000 + i) * NS_PER_MS,
		.end_ns = (1000500 + i) * NS_PER_MS,
		.src_port = 40000,
		.dst_port = 443,
		.proto = 6,
		.iface = "eth0",
		.packets = 3,
		.bytes = 180,
		.rev_packets = 2,
		.rev_bytes = 120,
		.end_reason = FLOW_END_DETECTED,
	};

	assert_int_equal(addr_parse(i % 3 ? "10.0.0.1" : "2001:db8::1", r.src_addr), 0);
	assert_int_equal(addr_parse(i % 3 ? "10.0.0.2" : "2001:db8::2", r.dst_addr), 0);
	return r;
}

/* Many messages, versions of IP and domains mixed. */
static void test_all_records_come_back(void **state)
{
	const unsigned n = 5000;
	struct flow_record last = sample(n);
	struct reading r;
	struct ipfix *x;
	uint8_t v4[4] = {192, 0, 2, 1};
	char *data;
	size_t size;
	FILE *out = open_memstream(&data, &size);

	(void)state;
	assert_int_equal(ipfix_new(out, &x), 0);
	for (unsigned i = 0; i < n; i++) {
		struct flow_record row = sample(i);

		assert_int_equal(ipfix_add(x, 1 + i / 700 % 3, &row), 0);
	}
	last.proto = 1;
	last.icmp_type = 8;
	last.icmp_code = 1;
	assert_int_equal(addr_parse("192.0.2.1", last.src_addr), 0);
	assert_int_equal(addr_parse("192.0.2.2", last.dst_addr), 0);
	strcpy(last.iface, "wlan0123456789a");
	assert_int_equal(ipfix_add(x, 2, &last), 0);
	assert_int_equal(ipfix_finish(x), 0);
	ipfix_free(x);
	fclose(out);

	r = read_file(data, size);
	free(data);
	assert_int_equal(r.n_domains, 3);
	assert_int_equal(r.domains[0].records + r.domains[1].records + r.domains[2].records, n + 1);
	assert_true(r.messages > 8);
	assert_int_equal(r.packets, 3 * (n + 1));
	assert_int_equal(r.rev_packets, 2 * (n + 1));
	assert_int_equal(r.layer2_bytes, 180 * (n + 1));
	assert_int_equal(r.ended_ms, 1000500 + n);
	assert_int_equal(r.icmp, 8 << 8 | 1);
	assert_memory_equal(r.src, v4, sizeof(v4));
	assert_string_equal(r.iface, "wlan0123456789a");
}

static void test_no_records_no_messages(void **state)
{
	struct ipfix *x;
	char *data;
	size_t size;
	FILE *out = open_memstream(&data, &size);

	(void)state;
	assert_int_equal(ipfix_new(out, &x), 0);
	assert_int_equal(ipfix_finish(x), 0);
	ipfix_free(x);
	fclose(out);
	assert_int_equal(size, 0);
	free(data);
}

static void test_full_disk(void **state)
{
	struct flow_record row = sample(1);
	struct ipfix *x;
	FILE *out = fopen("/dev/full", "w");

	(void)state;
	assert_non_null(out);
	assert_int_equal(ipfix_new(out, &x), 0);
	assert_int_equal(ipfix_add(x, 1, &row), 0);
	assert_int_equal(ipfix_finish(x), -ENOSPC);
	ipfix_free(x);
	fclose(out);
}

static void test_out_of_memory(void **state)
{
	struct flow_record row = sample(1);
	FILE *out = fopen("/dev/null", "w");
	unsigned n = 0;
	int err;

	(void)state;
	do {
		struct ipfix *x = NULL;

		fail_alloc_at(++n);
		err = ipfix_new(out, &x);
		if (!err)
			err = ipfix_add(x, 1, &row);
		assert_int_equal(err, fail_alloc_at(0) ? -ENOMEM : 0);
		ipfix_free(x);
	} while (err);
	assert_int_equal(n, 3);
	fclose(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_records_come_back),
		cmocka_unit_test(test_no_records_no_messages),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_out_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

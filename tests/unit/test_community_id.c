// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/addr.h"
#include "common/community_id.h"

struct vector {
	const char *src, *dst;
	uint8_t proto;
	uint16_t src_part, dst_part;
	const char *id;
};

static void check(const struct vector *vectors, size_t n)
{
	char id[COMMUNITY_ID_MAX];
	uint8_t src[16], dst[16];

	for (size_t i = 0; i < n; i++) {
		const struct vector *v = &vectors[i];

		assert_int_equal(addr_parse(v->src, src), 0);
		assert_int_equal(addr_parse(v->dst, dst), 0);
		assert_ptr_equal(community_id(src, dst, v->proto, v->src_part, v->dst_part, id),
				 id);
		if (strcmp(id, v->id) != 0)
			fail_msg("vector %zu (%s %s): %s, not %s", i, v->src, v->dst, id, v->id);
	}
}

#define CHECK(vectors) check(vectors, sizeof(vectors) / sizeof(*(vectors)))

/* The baseline of the specification, as its reference implementations are tested with it. */
static void published_vectors(void **state)
{
	static const struct vector published[] = {
		{"128.232.110.120", "66.35.250.204", 6, 34855, 80,
		 "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
		{"66.35.250.204", "128.232.110.120", 6, 80, 34855,
		 "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
		{"192.168.1.52", "8.8.8.8", 17, 54585, 53, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="},
		{"8.8.8.8", "192.168.1.52", 17, 53, 54585, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="},
		{"192.168.170.8", "192.168.170.56", 132, 7, 80, "1:jQgCxbku+pNGw8WPbEc/TS/uTpQ="},
		{"192.168.170.56", "192.168.170.8", 132, 80, 7, "1:jQgCxbku+pNGw8WPbEc/TS/uTpQ="},
		{"192.168.0.89", "192.168.0.1", 1, 8, 0, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="},
		{"192.168.0.1", "192.168.0.89", 1, 0, 8, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="},
		{"192.168.0.1", "192.168.0.89", 1, 0, 20, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="},
		{"192.168.0.89", "192.168.0.1", 1, 20, 0, "1:3o2RFccXzUgjl7zDpqmY7yJi8rI="},
		{"192.168.0.89", "192.168.0.1", 1, 20, 1, "1:tz/fHIDUHs19NkixVVoOZywde+I="},
		{"fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea", 58, 135, 0,
		 "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="},
		{"fe80::260:97ff:fe07:69ea", "fe80::200:86ff:fe05:80da", 58, 136, 0,
		 "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="},
		{"3ffe:507:0:1:260:97ff:fe07:69ea", "3ffe:507:0:1:200:86ff:fe05:80da", 58, 3, 0,
		 "1:NdobDX8PQNJbAyfkWxhtL2Pqp5w="},
		{"3ffe:507:0:1:200:86ff:fe05:80da", "3ffe:507:0:1:260:97ff:fe07:69ea", 58, 3, 0,
		 "1:/OGBt9BN1ofenrmSPWYicpij2Vc="},
	};

	(void)state;
	CHECK(published);
}

/* Corners that the baseline leaves out; by hashlib, from the text of the specification. */
static void corners(void **state)
{
	static const struct vector computed[] = {
		{"10.0.0.1", "10.0.0.1", 6, 2, 1, "1:mb9gqkXo1/+WeunLJO7I9i/H8Ec="},
		{"::1", "::1", 6, 65535, 1, "1:9q2IaTXPFzPl7cES6jIKA1AMwbM="},
		{"10.0.0.9", "10.0.0.10", 17, 5353, 5353, "1:zs3FolNcFTUevfjqMdAj8/MTrTE="},
		{"2001:db8::1", "2001:db8::2", 6, 40000, 443, "1:RYG3Msb11GthNt1OYXJouPzmrvA="},
		{"10.0.0.1", "10.0.0.2", 1, 13, 0, "1:6zK3cgZa+RmEpj3VhWmGXnOWUZk="},
		{"10.0.0.2", "10.0.0.1", 1, 14, 0, "1:6zK3cgZa+RmEpj3VhWmGXnOWUZk="},
		{"10.0.0.1", "10.0.0.2", 1, 3, 13, "1:820eD1FoIOB/jMo3K2DaSm0DYi0="},
		{"10.0.0.2", "10.0.0.1", 1, 3, 13, "1:CexWH6GSBcXiLx2d+IZvIa3TwzY="},
		{"fe80::2", "fe80::1", 58, 128, 0, "1:hcQR4+TVVdHthPBS7U0F6CmEKfY="},
		{"fe80::1", "fe80::2", 58, 129, 0, "1:hcQR4+TVVdHthPBS7U0F6CmEKfY="},
		{"10.0.0.2", "10.0.0.1", 47, 0, 0, "1:+KlEHDT0vJgzs/eNmzHq0aSpRYw="},
		{"10.0.0.1", "10.0.0.2", 47, 1, 2, "1:+KlEHDT0vJgzs/eNmzHq0aSpRYw="},
	};

	(void)state;
	CHECK(computed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_vectors),
		cmocka_unit_test(corners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

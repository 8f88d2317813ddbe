// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <net/if_arp.h>
#include <string.h>

#include "probe/datapath/iface.h"
#include "tests/unit/fail_alloc.h"

/* A host: a card that is up, one that is down, a tunnel, and a CAN bus. */
static struct iface items[] = {
	{.index = 2, .name = "eth0", .framing = IFACE_ETHERNET, .up = true},
	{.index = 3, .name = "eth1", .framing = IFACE_ETHERNET, .up = false},
	{.index = 7, .name = "wg0", .framing = IFACE_IP, .up = true},
	{.index = 9, .name = "can0", .framing = IFACE_UNSUPPORTED, .up = true},
};
static const struct iface_list host = {items, 4};

static int select_names(char **names, size_t n, struct iface_list *ret, const char **ret_bad)
{
	const struct option_list list = {names, n};

	return iface_select(&host, &list, ret, ret_bad);
}

static void all_means_up_and_readable(void **state)
{
	char all[] = "all", eth1[] = "eth1", *names[] = {all, eth1, all};
	struct iface_list got;
	const char *bad = NULL;

	(void)state;
	assert_int_equal(select_names(names, 1, &got, &bad), 0);
	assert_int_equal(got.n, 2);
	assert_string_equal(got.items[0].name, "eth0");
	assert_string_equal(got.items[1].name, "wg0");
	iface_list_free(&got);

	/* One that is down if it is named, and nothing twice. */
	assert_int_equal(select_names(names, 3, &got, &bad), 0);
	assert_int_equal(got.n, 3);
	assert_string_equal(got.items[1].name, "eth1");
	assert_null(bad);
	iface_list_free(&got);
	assert_null(got.items);
}

static void a_bad_name_is_told(void **state)
{
	char eth0[] = "eth0", nix[] = "nix", can0[] = "can0";
	char *missing[] = {eth0, nix}, *unreadable[] = {can0};
	struct iface_list got = {NULL, 42};
	const char *bad = NULL;

	(void)state;
	assert_int_equal(select_names(missing, 2, &got, &bad), -ENODEV);
	assert_string_equal(bad, "nix");
	assert_int_equal(select_names(unreadable, 1, &got, &bad), -EPROTONOSUPPORT);
	assert_string_equal(bad, "can0");
	assert_int_equal(got.n, 42); /* not touched */
}

static void names_by_index(void **state)
{
	const struct iface_list empty = {0};

	(void)state;
	assert_string_equal(iface_name(&host, 7), "wg0");
	assert_string_equal(iface_name(&host, 2), "eth0");
	assert_string_equal(iface_name(&host, 8), "");
	assert_string_equal(iface_name(&empty, 2), "");
}

static void framing_by_device_type(void **state)
{
	(void)state;
	assert_int_equal(iface_framing_of(ARPHRD_ETHER), IFACE_ETHERNET);
	assert_int_equal(iface_framing_of(ARPHRD_LOOPBACK), IFACE_ETHERNET);
	assert_int_equal(iface_framing_of(ARPHRD_NONE), IFACE_IP);
	assert_int_equal(iface_framing_of(ARPHRD_PPP), IFACE_IP);
	assert_int_equal(iface_framing_of(519), IFACE_IP);	    /* raw IP, a modem */
	assert_int_equal(iface_framing_of(280), IFACE_UNSUPPORTED); /* CAN */
}

static void this_host_has_lo(void **state)
{
	struct iface_list all;
	bool found = false;

	(void)state;
	assert_int_equal(iface_list_all(&all), 0);
	for (size_t i = 0; i < all.n; i++) {
		const struct iface *it = &all.items[i];

		assert_true(i == 0 || it->index > all.items[i - 1].index);
		assert_true(iface_exists(it->index));
		if (strcmp(it->name, "lo") != 0)
			continue;
		found = true;
		assert_int_equal(it->framing, IFACE_ETHERNET);
		assert_false(it->hardware);
	}
	assert_true(found);
	assert_false(iface_exists(0x7ffffff0));
	iface_list_free(&all);
}

static void every_allocation_may_fail(void **state)
{
	char all[] = "all", *names[] = {all};
	struct iface_list list, got;
	const char *bad;
	unsigned n;
	int err;

	(void)state;
	for (n = 1;; n++) {
		fail_alloc_at(n);
		err = iface_list_all(&list);
		if (!err) {
			err = select_names(names, 1, &got, &bad);
			iface_list_free(&list);
		}
		if (!fail_alloc_at(0))
			break;
		assert_int_equal(err, -ENOMEM);
	}
	assert_int_equal(err, 0);
	assert_true(n > 3); /* the buffer, lo, the two that are selected */
	iface_list_free(&got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_means_up_and_readable),
		cmocka_unit_test(a_bad_name_is_told),
		cmocka_unit_test(names_by_index),
		cmocka_unit_test(framing_by_device_type),
		cmocka_unit_test(this_host_has_lo),
		cmocka_unit_test(every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

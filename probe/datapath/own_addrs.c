// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/datapath/own_addrs.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/addr.h"
#include "common/cleanup.h"

DEFINE_CLEANUP(struct ifaddrs *, freeifaddrs)

static bool address_of(const struct ifaddrs *i, uint8_t ret[16])
{
	static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET) {
		memcpy(ret, v4_mapped, sizeof(v4_mapped));
		memcpy(ret + 12, &((const struct sockaddr_in *)i->ifa_addr)->sin_addr, 4);
		return true;
	}
	if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET6) {
		memcpy(ret, &((const struct sockaddr_in6 *)i->ifa_addr)->sin6_addr, 16);
		return true;
	}
	return false;
}

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, 16);
}

int own_addrs_read(struct own_addrs *ret)
{
	cleanup(freeifaddrs_p) struct ifaddrs *list = NULL;
	cleanup(free_p) uint8_t(*all)[16] = NULL;
	size_t max = 0, n = 0;

	if (getifaddrs(&list) != 0)
		return -errno;
	for (const struct ifaddrs *i = list; i; i = i->ifa_next)
		max++;
	all = calloc(max + 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	for (const struct ifaddrs *i = list; i; i = i->ifa_next)
		n += address_of(i, all[n]) && addr_is_of_host(all[n]);
	qsort(all, n, sizeof(*all), by_bytes);
	*ret = (struct own_addrs){0};
	for (size_t i = 0; i < n; i++) {
		if (i > 0 && memcmp(all[i], all[i - 1], 16) == 0)
			continue;
		if (ret->n < HELLO_MAX_ADDRS)
			memcpy(ret->addrs[ret->n++], all[i], 16);
		else
			ret->untold++;
	}
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* option_value.h - one option of common/options.h: its text, its value, its range. */
#ifndef WEIR_COMMON_OPTION_VALUE_H
#define WEIR_COMMON_OPTION_VALUE_H

#include "common/options.h"

#define OPTION_WHY_MAX 160

/* Makes the field unset: 0, NULL, an empty list, INT64_MIN for OPTION_TIME. */
void option_value_init(const struct option_row *row, void *settings);

/* Releases what the field holds and makes it unset. */
void option_value_free(const struct option_row *row, void *settings);

/*
 * Sets the field from text; a list appends. -EINVAL with the reason in
 * ret_why ("is not ..."), -ENOMEM.
 */
int option_value_set(const struct option_row *row, const char *text, void *settings,
		     char ret_why[OPTION_WHY_MAX]);

/* "1s to 1h" as a user would write it; "" without a range. */
void option_range_format(const struct option_row *row, char *ret, size_t size);

#endif /* WEIR_COMMON_OPTION_VALUE_H */

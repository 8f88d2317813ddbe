/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* array_size.h - how many elements an array has. */
#ifndef WEIR_COMMON_ARRAY_SIZE_H
#define WEIR_COMMON_ARRAY_SIZE_H

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif /* WEIR_COMMON_ARRAY_SIZE_H */

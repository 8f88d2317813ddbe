/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * vectors.h - a loop over a column is made twice: for every CPU, and for those
 * with AVX2; the dynamic linker takes the one for this CPU. What it chooses with
 * runs before a sanitizer is ready: with one there is only the first.
 */
#ifndef WEIR_PROTO_VECTORS_H
#define WEIR_PROTO_VECTORS_H

#include <stdlib.h> /* __GLIBC__ */

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) &&                            \
	!defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define VECTORS __attribute__((target_clones("avx2", "default")))
#else
#define VECTORS
#endif

#endif /* WEIR_PROTO_VECTORS_H */

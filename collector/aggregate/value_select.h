/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * value_select.h - the part of value_list.c that is made once for each size of
 * number: VALUE_T, VALUE_F(name). No header guard: included twice.
 */

/* Of the first, the last and the one between: so that values in order are as quick as any. */
static VALUE_T VALUE_F(median)(VALUE_T a, VALUE_T b, VALUE_T c)
{
	if (a < b)
		return b < c ? b : a < c ? c : a;
	return a < c ? a : b < c ? c : b;
}

/*
 * Parts v[low .. high] at the pivot: what is at most as large up to the place
 * that is returned, what is at least as large behind it.
 */
static size_t VALUE_F(part)(VALUE_T *v, size_t low, size_t high)
{
	VALUE_T pivot = VALUE_F(median)(v[low], v[low + (high - low) / 2], v[high]);

	for (;; low++, high--) {
		VALUE_T x;

		while (v[low] < pivot)
			low++;
		while (v[high] > pivot)
			high--;
		if (low >= high)
			return high;
		x = v[low];
		v[low] = v[high];
		v[high] = x;
	}
}

/* Moves the value of that rank to its place, smaller ones before it: quickselect. */
static VALUE_T VALUE_F(select)(VALUE_T *v, size_t n, size_t rank)
{
	size_t low = 0, high = n - 1;

	while (low < high) {
		size_t at = VALUE_F(part)(v, low, high);

		if (rank <= at)
			high = at;
		else
			low = at + 1;
	}
	return v[rank];
}

/* tm_pad_s8_c: one output row of padding, portable C, int8.
 *
 *   rows   int8  1 x [in_w][in_c]   the input row; a row of `value` above and below the image
 *   y      int8  [left + in_w + right][before + in_c + after]
 *
 * Quantisation  none: input and output share scale and zero point.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       writes while it reads: y must not touch bytes of `rows` still needed.
 * Source        TFLite kernels/internal/reference/pad.h.
 */
#ifndef TM_PAD_S8_C_H
#define TM_PAD_S8_C_H

#include "tm_runtime.h"

TM_INLINE int8_t *tm_pad_fill_s8_c(int8_t *y, int32_t value, int32_t count)
{
    tm_fill_s8(y, value, count);
    return y + count;
}

TM_INLINE void tm_pad_s8_c(const int8_t *const *rows, int8_t *y, int32_t in_w, int32_t in_c, int32_t left,
                           int32_t right, int32_t before, int32_t after, int32_t value)
{
    /* Without padding between pixels the row is one run. */
    const int32_t runs = before + after > 0 ? in_w : 1;
    const int32_t run = in_c * (in_w / runs);
    const int32_t pixel = before + in_c + after;
    const int8_t *x = rows[0];
    y = tm_pad_fill_s8_c(y, value, left * pixel);
    for (int32_t i = 0; i < runs; ++i) {
        y = tm_pad_fill_s8_c(y, value, before);
        tm_copy_s8(y, x, run);
        x += run;
        y = tm_pad_fill_s8_c(y + run, value, after);
    }
    tm_pad_fill_s8_c(y, value, right * pixel);
}

#endif

/* tm_arg_max_s8_s32_c: index of the largest element along a dimension, portable C, int8 to int32.
 *
 *   x   int8   [outer][count][inner]
 *   y   int32  [outer][inner]
 *
 * Quantisation  none. Of equal elements the first one's index.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       row by row, of count * inner elements; with inner 1 a row is read before its index is written.
 * Source        TFLite kernels/internal/reference/arg_min_max.h.
 */
#ifndef TM_ARG_MAX_S8_S32_C_H
#define TM_ARG_MAX_S8_S32_C_H

#include "tm_runtime.h"

/* The index of the largest x[i * inner] ^ flip, which with flip -1 is the smallest's. */
TM_INLINE int32_t tm_arg_extreme_s8_c(const int8_t *x, int32_t count, int32_t inner, int32_t flip)
{
    int32_t most = *x ^ flip;
    int32_t index = 0;
    for (int32_t i = 1; i < count; ++i) {
        const int32_t value = (x += inner)[0] ^ flip;
        if (value > most) {
            most = value;
            index = i;
        }
    }
    return index;
}

TM_INLINE void tm_arg_s8_s32_c(const int8_t *x, int32_t *y, int32_t outer, int32_t count, int32_t inner,
                               int32_t flip)
{
    for (int32_t o = 0; o < outer; ++o, x += count * inner) {
        for (int32_t i = 0; i < inner; ++i) {
            *y++ = tm_arg_extreme_s8_c(x + i, count, inner, flip);
        }
    }
}

TM_INLINE void tm_arg_s8_s64_c(const int8_t *x, int64_t *y, int32_t outer, int32_t count, int32_t inner,
                               int32_t flip)
{
    int8_t *to = (int8_t *)y; /* aligned to words only */
    for (int32_t o = 0; o < outer; ++o, x += count * inner) {
        for (int32_t i = 0; i < inner; ++i, to += sizeof(int64_t)) {
            const int64_t index = tm_arg_extreme_s8_c(x + i, count, inner, flip);
            memcpy(to, &index, sizeof index);
        }
    }
}

TM_INLINE void tm_arg_max_s8_s32_c(const int8_t *x, int32_t *y, int32_t outer, int32_t count, int32_t inner)
{
    tm_arg_s8_s32_c(x, y, outer, count, inner, 0);
}

#endif

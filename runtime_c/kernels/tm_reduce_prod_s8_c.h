/* tm_reduce_prod_s8_c: product over any dimensions, portable C, int8.
 *
 *   x        int8   the input, densely packed
 *   y        int8   the kept dimensions, densely packed
 *   kept     int32  [2][6]   kept dimensions, then the input's stride along each of them
 *   reduced  int32  [2][6]   reduced dimensions, then the input's stride along each of them
 *
 * Quantisation  p = x[0] - zp_in, then p = scaled(p * (x[k] - zp_in)) for the others in their order;
 *               y = clamp(zp_out + scaled(p)), scaled(v) = (v * multiplier + 2^(shift - 1)) >> shift.
 * Scratch       none.
 * Requires      multiplier of 15 bits, shift from 1 to 62 to the right.
 * Overlap       none; where the reduced dimensions are the last ones, product by product.
 * Source        TFLite kernels/internal/optimized/reduce.h (QuantizedReduceProd).
 */
#ifndef TM_REDUCE_PROD_S8_C_H
#define TM_REDUCE_PROD_S8_C_H

#include "tm_runtime.h"

TM_INLINE int32_t tm_scaled_product_s8_c(int64_t product, int32_t multiplier, int32_t shift)
{
    return (int32_t)((product * multiplier + ((int64_t)1 << (shift - 1))) >> shift);
}

TM_INLINE void tm_reduce_prod_s8_c(const int8_t *x, int8_t *y, const int32_t *kept, const int32_t *reduced,
                                   int32_t zp_in, int32_t multiplier, int32_t shift, int32_t zp_out)
{
    int32_t index[TM_RANK - 1] = {0};
    int32_t offset[1] = {0};
    const int32_t outputs = tm_walk_runs(kept) * kept[TM_RANK - 1];
    const int32_t runs = tm_walk_runs(reduced);
    const int32_t run = reduced[TM_RANK - 1];
    const int32_t stride = reduced[2 * TM_RANK - 1];
    for (int32_t o = 0; o < outputs; ++o) {
        const int8_t *const first = x + offset[0] + o % kept[TM_RANK - 1] * kept[2 * TM_RANK - 1];
        int32_t inner[TM_RANK - 1] = {0};
        int32_t at[1] = {0};
        int32_t product = 0;
        for (int32_t r = 0; r < runs; ++r) {
            for (int32_t i = 0; i < run; ++i) {
                const int32_t value = first[at[0] + i * stride] - zp_in;
                product =
                    r + i == 0 ? value : tm_scaled_product_s8_c((int64_t)product * value, multiplier, shift);
            }
            tm_walk_next(reduced, 1, inner, at);
        }
        *y++ = tm_clamp_s8(tm_scaled_product_s8_c(product, multiplier, shift), zp_out, INT8_MIN, INT8_MAX);
        if (o % kept[TM_RANK - 1] == kept[TM_RANK - 1] - 1) {
            tm_walk_next(kept, 1, index, offset);
        }
    }
}

#endif

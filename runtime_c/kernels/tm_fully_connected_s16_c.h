/* tm_fully_connected_s16_c: fully connected layer, portable C, int16 with int8 weights.
 *
 *   x        int16  [batches][in_c]
 *   y        int16  [batches][out_c]
 *   weights  int8   [out_c][in_c]   symmetric
 *   bias     int64  [out_c]
 *   scale    uint32 [out_c][2]      high and low word of 53 bits, times 2^-bits
 *   bits     uint8  [out_c]
 *
 * Quantisation  y = clamp(round(scale * (bias + sum w * x))), zero points 0: what LiteRT computes in double.
 *               Unless `wide`, bias and sum fit 32 bits whatever the input.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       batch row by batch row; writes a row while it reads it.
 * Source        LiteRT's reference, found by measuring: TFLite kernels/fully_connected.cc (int16) rounded in
 *               integers before.
 */
#ifndef TM_FULLY_CONNECTED_S16_C_H
#define TM_FULLY_CONNECTED_S16_C_H

#include "tm_wide.h"

TM_INLINE void tm_fully_connected_s16_c(const int16_t *x, int16_t *y, const int8_t *weights,
                                        const int64_t *bias, const uint32_t *scale, const uint8_t *bits,
                                        int32_t batches, int32_t in_c, int32_t out_c, int32_t wide,
                                        int32_t lo, int32_t hi)
{
    for (int32_t b = 0; b < batches; ++b) {
        /* Two outputs at a time; a last odd one is computed twice and stored once. */
        for (int32_t oc = 0; oc < out_c; oc += 2) {
            const int32_t pair = oc + 1 < out_c ? 1 : 0;
            const int8_t *const w = weights + oc * in_c;
            int64_t acc[2] = {bias[oc], bias[oc + pair]};
            tm_dot2_s16(x, w, w + pair * in_c, in_c, wide, acc);
            for (int32_t i = 0; i <= pair; ++i) {
                const uint32_t *const factor = scale + 2 * (oc + i);
                y[oc + i] =
                    tm_limit_s16(tm_round_product(acc[i], factor[0], factor[1], bits[oc + i]), lo, hi);
            }
        }
        x += in_c;
        y += out_c;
    }
}

#endif

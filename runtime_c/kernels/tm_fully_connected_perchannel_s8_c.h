/* tm_fully_connected_perchannel_s8_c: fully connected layer, one weight scale per output, portable C, int8.
 *
 *   x           int8  [batches][in_c]
 *   y           int8  [batches][out_c]
 *   weights     int8  [out_c][in_c]   symmetric
 *   bias        int32 [out_c]         -zp_in * sum(weights) folded in
 *   multiplier  int32 [out_c], shift int8 [out_c]
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding once as LiteRT's reference.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       batch row by batch row; writes a row while it reads it.
 * Source        TFLite kernels/internal/reference/integer_ops/fully_connected.h
 *               (FullyConnectedPerChannel).
 */
#ifndef TM_FULLY_CONNECTED_PERCHANNEL_S8_C_H
#define TM_FULLY_CONNECTED_PERCHANNEL_S8_C_H

#include "tm_runtime.h"

TM_INLINE void tm_fully_connected_perchannel_s8_c(const int8_t *x, int8_t *y, const int8_t *weights,
                                                  const int32_t *bias, const int32_t *multiplier,
                                                  const int8_t *shift, int32_t batches, int32_t in_c,
                                                  int32_t out_c, int32_t zp_out, int32_t lo, int32_t hi)
{
    for (int32_t b = 0; b < batches; ++b) {
        const int8_t *w = weights;
        for (int32_t oc = 0; oc < out_c; ++oc) {
            const int32_t acc = tm_dot_s8(x, w, in_c, bias[oc]);
            y[oc] = tm_clamp_s8(tm_requant_single(acc, multiplier[oc], shift[oc]), zp_out, lo, hi);
            w += in_c;
        }
        x += in_c;
        y += out_c;
    }
}

#endif

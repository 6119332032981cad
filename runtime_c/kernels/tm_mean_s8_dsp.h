/* tm_mean_s8_dsp: mean over neighbouring dimensions, DSP instructions, int8.
 *
 *   x   int8  [outer][count][inner]
 *   y   int8  [outer][inner]
 *
 * Quantisation  y = clamp(zp_out + requant(offset + sum x)), rounding twice; the division by the count
 *               is in multiplier and shift, offset is -count * zp_in.
 * Scratch       none.
 * Requires      -31 <= shift <= 0.
 * Overlap       none.
 * Source        TFLite kernels/internal/reference/reduce.h (QuantizedMeanOrSum).
 *               Up to 255 values add up in a halfword, two of them in a word (SXTAB16).
 */
#ifndef TM_MEAN_S8_DSP_H
#define TM_MEAN_S8_DSP_H

#include "tm_dsp.h"

/* n (1 to 4) means of `count` values each, `inner` bytes apart. */
TM_INLINE void tm_mean_put_dsp(const int8_t *x, int8_t *y, int32_t n, int32_t count, int32_t inner,
                               int32_t sum_offset, int32_t multiplier, int32_t shift, int32_t zp_out)
{
    int32_t sums[4] = {sum_offset, sum_offset, sum_offset, sum_offset};
    while (count > 0) {
        const int32_t some = count < 255 ? count : 255;
        int32_t even = 0;
        int32_t odd = 0;
        TM_UNROLL_4
        for (int32_t k = 0; k < some; ++k, x += inner) {
            const int32_t word = n == 4 ? tm_load4(x) : tm_load_tail(x, n);
            even = tm_sxtab16(even, word);
            odd = tm_sxtab16_ror8(odd, word);
        }
        sums[0] += (int16_t)(uint16_t)((uint32_t)even & 0xffffu);
        sums[1] += (int16_t)(uint16_t)((uint32_t)odd & 0xffffu);
        sums[2] += even >> 16;
        sums[3] += odd >> 16;
        count -= some;
    }
    TM_UNROLL_4
    for (int32_t i = 0; i < n; ++i) {
        /* SMMLAR is SRDHM without overflow, as in tm_dsp.h; below 2^30 twice the multiplier is positive. */
        const int32_t twice = (int32_t)((uint32_t)multiplier << 1);
        const int32_t t = tm_smmlar(sums[i], twice, multiplier < (int32_t)1 << 30 ? 0 : sums[i]);
        const int32_t power = -1 - (int32_t)(((uint32_t)1 << ((uint32_t)(32 + shift) & 31u)) - 1u);
        y[i] = (int8_t)tm_ssat8(shift == 0 ? t + zp_out : tm_smmlsr(t + (t >> 31), power, zp_out));
    }
}

TM_INLINE void tm_mean_s8_dsp(const int8_t *x, int8_t *y, int32_t outer, int32_t count, int32_t inner,
                              int32_t sum_offset, int32_t multiplier, int32_t shift, int32_t zp_out)
{
    const int32_t whole = inner / 4 * 4;
    for (int32_t o = 0; o < outer; ++o, x += count * inner, y += inner) {
        for (int32_t c = 0; c < whole; c += 4) {
            tm_mean_put_dsp(x + c, y + c, 4, count, inner, sum_offset, multiplier, shift, zp_out);
        }
        if (inner > whole) {
            tm_mean_put_dsp(x + whole, y + whole, inner - whole, count, inner, sum_offset, multiplier, shift,
                            zp_out);
        }
    }
}

#endif

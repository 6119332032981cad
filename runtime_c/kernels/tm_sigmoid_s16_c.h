/* tm_sigmoid_s16_c: LOGISTIC and TANH, portable C, int16.
 *
 *   x, y    int16  [elements]
 *   table   uint16 [256]   the logistic function of i/24 in Q0.16
 *
 * Quantisation  v = (x * multiplier + round) >> shift counts 512ths of a table step (TANH: 256ths); between the
 *               table's entries it is interpolated. y is in Q0.15.
 * Scratch       none.
 * Requires      x * multiplier within 31 bits.
 * Overlap       reads element i, then writes element i: fully in place.
 * Source        TFLite kernels/internal/reference/integer_ops/logistic.h and tanh.h (of int16).
 */
#ifndef TM_SIGMOID_S16_C_H
#define TM_SIGMOID_S16_C_H

#include "tm_wide.h"

TM_INLINE void tm_sigmoid_s16_c(const int16_t *x, int16_t *y, const uint16_t *table, int32_t elements,
                                int32_t hyperbolic, int32_t multiplier, int32_t shift)
{
    const int32_t bits = hyperbolic != 0 ? 8 : 9;
    const int32_t below =
        hyperbolic != 0 ? 1 << 7 : 1 << 9; /* half of what is shifted out; TANH's has 2 bits less */
    const int32_t rounding = shift > 0 ? 1 << (shift - 1) : 0;
    for (int32_t i = 0; i < elements; ++i) {
        const int32_t value = (x[i] * multiplier + rounding) >> shift;
        const int32_t size = value < 0 ? -value : value;
        const int32_t step = size >> bits;
        int32_t result;
        if (step >= 255) {
            result = hyperbolic != 0 ? 0xffff << 8 : 0x7fff << 10;
        } else {
            const int32_t low = table[step];
            result = (low << bits) + (size & ((1 << bits) - 1)) * (table[step + 1] - low);
        }
        if (hyperbolic != 0) {
            result -= 1 << 23;
            result = value >= 0 ? result + below : below - 1 - result;
            y[i] = (int16_t)(result >> 8);
        } else {
            result = value >= 0 ? result + below : (1 << 25) - result + below - 1;
            y[i] = (int16_t)(result >> 10);
        }
    }
}

#endif

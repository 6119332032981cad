/* tm_wide: what kernels on int16 activations share: sums of 64 bits, their requantisation, a table of 513.
 *
 * Zero points are 0, so a tap beside the image adds nothing and is left out.
 */
#ifndef TM_WIDE_H
#define TM_WIDE_H

#include "tm_runtime.h"

/* Rows arrive as bytes whatever their elements; arenas and rows are aligned to them. */
TM_INLINE const int16_t *tm_row_s16(const int8_t *row)
{
    return (const int16_t *)(const void *)row;
}

TM_INLINE int16_t tm_limit_s16(int32_t value, int32_t lo, int32_t hi)
{
    return (int16_t)tm_clamp(value, lo, hi);
}

/* Two dot products with the same x: acc[k] += sum x[i] * wk[i], i < n. Unless `wide`, the caller knows that
 * the sums stay within 32 bits.
 */
TM_INLINE void tm_dot2_s16(const int16_t *x, const int8_t *w0, const int8_t *w1, int32_t n, int32_t wide,
                           int64_t acc[2])
{
    if (wide != 0) {
        int64_t acc0 = acc[0];
        int64_t acc1 = acc[1];
        TM_UNROLL_4
        for (int32_t i = 0; i < n; ++i) {
            const int32_t value = x[i];
            acc0 += value * w0[i];
            acc1 += value * w1[i];
        }
        acc[0] = acc0;
        acc[1] = acc1;
    } else {
        int32_t acc0 = (int32_t)acc[0];
        int32_t acc1 = (int32_t)acc[1];
        TM_UNROLL_4
        for (int32_t i = 0; i < n; ++i) {
            const int32_t value = x[i];
            acc0 += value * w0[i];
            acc1 += value * w1[i];
        }
        acc[0] = acc0;
        acc[1] = acc1;
    }
}

/* value * multiplier * 2^(shift - 15), rounded once, halves up: TFLite's MultiplyByQuantizedMultiplier of int64.
 * multiplier has 15 bits, |value| < 2^47, -31 <= shift <= 7. A result beyond int32 wraps, as there.
 */
TM_INLINE int32_t tm_requant_wide(int64_t value, int32_t multiplier, int32_t shift)
{
    const int32_t bits = 15 - shift;
    return (int32_t)((value * multiplier + ((int64_t)1 << (bits - 1))) >> bits);
}

/* Bits of a positive number. */
TM_INLINE int32_t tm_bit_length(uint64_t value)
{
    int32_t bits = 0;
    for (int32_t step = 32; step > 0; step >>= 1) {
        if ((value >> step) != 0) {
            value >>= step;
            bits += step;
        }
    }
    return bits + (value != 0 ? 1 : 0);
}

/* round(value * scale) as C computes it in double, halves away from zero, without floating point.
 *
 * scale = (high * 2^32 + low) * 2^-bits has 53 bits, |value| < 2^47, and the result fits int32. The product,
 * of up to 100 bits, is rounded to 53 before it is rounded to an integer: it counts as a half from half a
 * unit of its last place below on.
 */
TM_INLINE int32_t tm_round_product(int64_t value, uint32_t high, uint32_t low, int32_t bits)
{
    const uint64_t size = value < 0 ? 0u - (uint64_t)value : (uint64_t)value;
    const uint64_t by_low = (size & 0xffffffffu) * low;
    const uint64_t middle = (size & 0xffffffffu) * high + (size >> 32) * low + (by_low >> 32);
    /* the product is top * 2^64 + rest */
    uint64_t top = (size >> 32) * high + (middle >> 32);
    uint64_t rest = (middle << 32) | (by_low & 0xffffffffu);
    const int32_t length = top != 0 ? 64 + tm_bit_length(top) : tm_bit_length(rest);
    uint64_t before = rest;
    uint64_t result;
    if (length > 53) {
        rest += (uint64_t)1 << (length - 54);
        top += rest < before ? 1u : 0u;
        before = rest;
    }
    if (bits <= 64) {
        rest += (uint64_t)1 << (bits - 1);
        top += rest < before ? 1u : 0u;
        result = bits < 64 ? (top << (64 - bits)) | (rest >> bits) : top;
    } else {
        top += (uint64_t)1 << (bits - 65);
        result = top >> (bits - 64);
    }
    return value < 0 ? -(int32_t)result : (int32_t)result;
}

/* A table of 513 samples at an int16 value, interpolated: TFLite's LUTLookup. */
TM_INLINE int32_t tm_lut_s16(int32_t value, const int16_t *table)
{
    const int16_t *const base = table + 256 + (value >> 7);
    return base[0] + (((base[1] - base[0]) * (value & 0x7f) + 64) >> 7);
}

#endif

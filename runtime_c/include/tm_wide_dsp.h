/* tm_wide_dsp: what DSP kernels on int16 activations share: requantisation of 32-bit sums, and its clamping.
 *
 * TFLite's requantisation is round(acc * m / 2^t), halves up, with m of 15 bits. Where acc fits 32 bits and
 * 16 <= t <= 32 that is the high word of acc * factor + 2^31, factor = m * 2^(32-t): one SMMULR.
 */
#ifndef TM_WIDE_DSP_H
#define TM_WIDE_DSP_H

#include "tm_dsp.h"
#include "tm_wide.h"

/* acc * factor / 2^32, rounded, halves up, and saturated: to int16, or with `rectified` to [0, 32767]. */
TM_INLINE int16_t tm_requant16_dsp(int32_t rectified, int32_t acc, int32_t factor)
{
    const int32_t value = tm_smmulr(acc, factor);
    return (int16_t)(rectified ? tm_usat15(value) : tm_ssat16(value));
}

/* The same in assembly. */
#define TM_ASM_SATURATE16_0(acc) "ssat   " acc ", #16, " acc "\n"
#define TM_ASM_SATURATE16_1(acc) "usat   " acc ", #15, " acc "\n"

/* Whether to saturate to [0, 32767] rather than to int16. */
TM_INLINE int32_t tm_rectifies(int32_t lo)
{
    return lo >= 0 ? 1 : 0;
}

/* Clamp n halfwords to [lo, hi] that are saturated, and `rectified` or not. */
TM_INLINE void tm_clamp_row16(int16_t *y, int32_t n, int32_t rectified, int32_t lo, int32_t hi)
{
    if (lo > (rectified ? 0 : -32768) || hi < 32767) {
        for (int32_t i = 0; i < n; ++i) {
            y[i] = tm_limit_s16(y[i], lo, hi);
        }
    }
}

/* The halfwords of a word, times 2^16. */
TM_INLINE int32_t tm_low_half(int32_t word)
{
    return (int32_t)((uint32_t)word << 16);
}

TM_INLINE int32_t tm_high_half(int32_t word)
{
    return (int32_t)((uint32_t)word & 0xffff0000u);
}

/* Two halfwords to any address. */
TM_INLINE void tm_store_pair(int16_t *y, int32_t low, int32_t high)
{
    const int32_t word = tm_pkhbt(low, high);
    memcpy(y, &word, sizeof word);
}

/* What makes a shift that rounds halves up round them away from zero. */
TM_INLINE int32_t tm_away_from_zero(int32_t t)
{
    return t + (t >> 31);
}

/* -2^(32 + shift), -31 <= shift <= -1: SMMLSR by it shifts right, rounding halves up, and adds. */
TM_INLINE int32_t tm_shift_factor(int32_t shift)
{
    return -1 - (int32_t)(((uint32_t)1 << (32 + shift)) - 1u);
}

/* value * multiplier * 2^(shift - 31), rounded twice as tm_requant, saturated to int16; multiplier >= 2^30,
 * -31 <= shift <= -1. As form 4 of tm_requant_dsp.
 */
TM_INLINE int32_t tm_requant_twice(int32_t value, int32_t multiplier, int32_t shift)
{
    const int32_t t = tm_smmlar(value, (int32_t)((uint32_t)multiplier << 1), value);
    return tm_ssat16(tm_smmlsr(tm_away_from_zero(t), tm_shift_factor(shift), 0));
}

#endif

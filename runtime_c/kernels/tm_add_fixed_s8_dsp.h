/* tm_add_fixed_s8_dsp: element by element sum of two tensors of one shape, DSP instructions, int8.
 *
 *   x1, x2   int8  [elements]
 *   y        int8  [elements]
 *
 * Quantisation  y = clamp((floor(x1 * factor_1 / 2^8) + floor(x2 * factor_2 / 2^8) + offset) >> shift). The
 *               numbers are chosen by tinyml/kernels/dsp_add.py so that this is TFLite's sum, which
 *               rounds six times, for each of the 65,536 pairs of inputs; [lo, hi] is the range of the
 *               fused activation.
 * Scratch       none.
 * Requires      such numbers with a shift of 20 to 23, which nearly all scales have: others go to
 *               tm_add_s8_dsp.
 * Overlap       reads four elements of both inputs, then writes these: fully in place.
 * Source        TFLite kernels/internal/reference/integer_ops/add.h.
 *               A byte at the top of a halfword is a factor of SMLAWB, which drops the other 8 bits of it.
 */
#ifndef TM_ADD_FIXED_S8_DSP_H
#define TM_ADD_FIXED_S8_DSP_H

#include "tm_dsp.h"

typedef struct {
    int32_t factor_1;
    int32_t factor_2;
    int32_t offset;
} tm_add_scale;

/* The sums of n (1 to 4) pairs of bytes. */
TM_INLINE void tm_add_fixed_put(int8_t *y, int32_t n, int32_t x1, int32_t x2, const tm_add_scale *scale,
                                int32_t shift)
{
    const int32_t bytes_1[2] = {tm_even_bytes_high(x1), tm_odd_bytes_high(x1)};
    const int32_t bytes_2[2] = {tm_even_bytes_high(x2), tm_odd_bytes_high(x2)};
    for (int32_t i = 0; i < n; ++i) {
        int32_t sum = scale->offset;
        if (i < 2) {
            sum = tm_smlawb(scale->factor_1, bytes_1[i], sum);
            sum = tm_smlawb(scale->factor_2, bytes_2[i], sum);
        } else {
            sum = tm_smlawt(scale->factor_1, bytes_1[i - 2], sum);
            sum = tm_smlawt(scale->factor_2, bytes_2[i - 2], sum);
        }
        y[i] = (int8_t)tm_ssat8(sum >> shift);
    }
}

#if TM_DSP_ASM

/* r0 x1, r1 x2, r2 y, r3 end of x1, r4 and r5 factors, r6 offset, r7 mask of the odd bytes; r8 and r9 words, then
 * odd bytes, r10 and r11 even bytes, r12 and lr sums.
 */
#define TM_ADD_FIXED_SUM(shift, half, x1, x2, sum, where) \
    "smlaw" half " " sum ", r4, " x1 ", r6\n"             \
    "smlaw" half " " sum ", r5, " x2 ", " sum "\n"        \
    "ssat   " sum ", #8, " sum ", asr #" #shift "\n"      \
    "strb   " sum ", [r2" where "\n"
#define TM_ADD_FIXED_FOUR(shift)                                               \
    "ldr    r8, [r0], #4\n"                                                    \
    "ldr    r9, [r1], #4\n"                                                    \
    "and    r10, r7, r8, lsl #8\n"                                             \
    "and    r11, r7, r9, lsl #8\n"                                             \
    "and    r8, r7\n"                                                          \
    "and    r9, r7\n" TM_ADD_FIXED_SUM(shift, "b", "r8", "r9", "r12", ", #1]") \
        TM_ADD_FIXED_SUM(shift, "t", "r10", "r11", "lr", ", #2]")              \
            TM_ADD_FIXED_SUM(shift, "t", "r8", "r9", "r12", ", #3]")           \
                TM_ADD_FIXED_SUM(shift, "b", "r10", "r11", "lr", "], #4")
/* Two fours to a round; an odd number of them starts in the middle. */
#define TM_ADD_FIXED_BODY(shift)                                                      \
    "push   {r4-r11, lr}\n"                                                           \
    "ldr    r7, [sp, #36]\n"                                                          \
    "ldm    r7, {r4-r6}\n"                                                            \
    "mov    r7, #0xff00ff00\n"                                                        \
    "lsrs   r12, r3, #1\n"                                                            \
    "add    r3, r0, r3, lsl #2\n"                                                     \
    "bcs    2f\n"                                                                     \
    "1:\n" TM_ADD_FIXED_FOUR(shift) "2:\n" TM_ADD_FIXED_FOUR(shift) "cmp    r0, r3\n" \
                                                                    "bne    1b\n"     \
                                                                    "pop    {r4-r11, pc}\n"

#define TM_ADD_FIXED_FOURS(name, shift)                                                                    \
    TM_NAKED void name(const int8_t *x1 __attribute__((unused)), const int8_t *x2 __attribute__((unused)), \
                       int8_t *y __attribute__((unused)), int32_t fours __attribute__((unused)),           \
                       const tm_add_scale *scale __attribute__((unused)))                                  \
    {                                                                                                      \
        __asm__ volatile(TM_ADD_FIXED_BODY(shift));                                                        \
    }

#else

#define TM_ADD_FIXED_FOURS(name, shift)                                               \
    TM_SHARED void name(const int8_t *x1, const int8_t *x2, int8_t *y, int32_t fours, \
                        const tm_add_scale *scale)                                    \
    {                                                                                 \
        for (; fours > 0; --fours, x1 += 4, x2 += 4, y += 4) {                        \
            tm_add_fixed_put(y, 4, tm_load4(x1), tm_load4(x2), scale, shift);         \
        }                                                                             \
    }

#endif

/* Four times `fours` > 0 elements. */
TM_ADD_FIXED_FOURS(tm_add_fixed_fours_20_dsp, 20)
TM_ADD_FIXED_FOURS(tm_add_fixed_fours_21_dsp, 21)
TM_ADD_FIXED_FOURS(tm_add_fixed_fours_22_dsp, 22)
TM_ADD_FIXED_FOURS(tm_add_fixed_fours_23_dsp, 23)

TM_INLINE void tm_add_fixed_s8_dsp(const int8_t *x1, const int8_t *x2, int8_t *y, int32_t elements,
                                   int32_t factor_1, int32_t factor_2, int32_t offset, int32_t shift,
                                   int32_t lo, int32_t hi)
{
    const tm_add_scale scale = {factor_1, factor_2, offset};
    const int32_t fours = elements / 4;
    const int32_t done = 4 * fours;
    if (fours > 0 && shift == 20) {
        tm_add_fixed_fours_20_dsp(x1, x2, y, fours, &scale);
    } else if (fours > 0 && shift == 21) {
        tm_add_fixed_fours_21_dsp(x1, x2, y, fours, &scale);
    } else if (fours > 0 && shift == 22) {
        tm_add_fixed_fours_22_dsp(x1, x2, y, fours, &scale);
    } else if (fours > 0) {
        tm_add_fixed_fours_23_dsp(x1, x2, y, fours, &scale);
    }
    if (elements > done) {
        const int32_t rest = elements - done;
        tm_add_fixed_put(y + done, rest, tm_load_tail(x1 + done, rest), tm_load_tail(x2 + done, rest), &scale,
                         shift);
    }
    tm_clamp_row(y, elements, lo, hi);
}

#endif

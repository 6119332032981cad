/* tm_mul_channels_s8_dsp: product of a tensor and one factor per channel, DSP instructions, int8.
 *
 *   x       int8  [pixels][channels]
 *   gate    int8  [channels]
 *   y       int8  [pixels][channels]
 *
 * Quantisation  y = clamp(zp_out + requant((x - zp_1) * (gate - zp_2))), rounding twice as the TFLite
 *               reference; [lo, hi] is the range of the fused activation.
 * Scratch       none.
 * Requires      a multiplier of at least 2^30 and -31 <= shift <= -2: other scales go to
 *               tm_mul_broadcast_s8_c.
 * Overlap       reads four elements of x, then writes these: in place. gate: apart from y.
 * Source        TFLite kernels/internal/reference/mul.h.
 *               tm_requant_dsp with one pair of words (tm_dsp.h); a product has 17 bits, rescaled 16, so
 *               that two of them are saturated at a time.
 */
#ifndef TM_MUL_CHANNELS_S8_DSP_H
#define TM_MUL_CHANNELS_S8_DSP_H

#include "tm_dsp.h"

/* What all products share: zero points to add in both halfwords, and how to rescale. */
/* What all products share: zero points to add in both halfwords, and how to rescale. */
typedef struct {
    int32_t minus_zp_1;
    int32_t minus_zp_2;
    int32_t a;
    int32_t b;
    int32_t zero_point_128; /* of the output as if it were uint8 */
} tm_mul_scale;

/* The products of n (1 to 4) channels. */
TM_INLINE void tm_mul_channels_put(int32_t form, int8_t *y, int32_t n, int32_t x, int32_t gate,
                                   const tm_mul_scale *scale)
{
    const int32_t even = tm_sxtab16(scale->minus_zp_1, x);
    const int32_t gate_even = tm_sxtab16(scale->minus_zp_2, gate);
    const int32_t odd = tm_sxtab16_ror8(scale->minus_zp_1, x);
    const int32_t gate_odd = tm_sxtab16_ror8(scale->minus_zp_2, gate);
    const int32_t products[4] = {tm_smulbb(even, gate_even), tm_smulbb(odd, gate_odd),
                                 tm_smultt(even, gate_even), tm_smultt(odd, gate_odd)};
    for (int32_t i = 0; i < n; ++i) {
        y[i] = tm_requant_dsp(form, products[i], scale->a, scale->b, scale->zero_point_128 - 128);
    }
}

#if TM_DSP_ASM

/* r0 x, r1 gate, r2 y, r3 end of the pixel, r4..r8 the scale, r9 and r11 x, r10 and r12 gate, then these and lr
 * products. Stack: [0] gate, [4] bytes of a pixel, [8] pixels left.
 */
#define TM_MUL_CHANNELS_REQUANT_3(acc)       \
    "smmlar " acc ", " acc ", r6, " acc "\n" \
    "smmlar " acc ", " acc ", r7, r8\n"
#define TM_MUL_CHANNELS_REQUANT_4(acc)            \
    "smmlar " acc ", " acc ", r6, " acc "\n"      \
    "add    " acc ", " acc ", " acc ", asr #31\n" \
    "smmlsr " acc ", " acc ", r7, r8\n"
/* clang-format off */
#define TM_MUL_CHANNELS_FOUR(REQUANT)  \
    "ldr    r11, [r0], #4\n"           \
    "ldr    r12, [r1], #4\n"           \
    "sxtab16 r9, r4, r11\n"            \
    "sxtab16 r10, r5, r12\n"           \
    "sxtab16 r11, r4, r11, ror #8\n"   \
    "sxtab16 r12, r5, r12, ror #8\n"   \
    "smulbb lr, r9, r10\n"             \
    "smultt r9, r9, r10\n"             \
    "smulbb r10, r11, r12\n"           \
    "smultt r11, r11, r12\n"           \
    REQUANT("lr")                      \
    REQUANT("r9")                      \
    REQUANT("r10")                     \
    REQUANT("r11")                     \
    "pkhbt  r9, lr, r9, lsl #16\n"     \
    "pkhbt  r10, r10, r11, lsl #16\n"  \
    "usat16 r9, #8, r9\n"              \
    "usat16 r10, #8, r10\n"            \
    "orr    r9, r9, r10, lsl #8\n"     \
    "eor    r9, r9, #0x80808080\n"     \
    "str    r9, [r2], #4\n"
/* Two fours to a round; an odd number of them starts in the middle. */
#define TM_MUL_CHANNELS_BODY(REQUANT)  \
    "push   {r4-r11, lr}\n"            \
    "sub    sp, #12\n"                 \
    "ldr    r12, [sp, #52]\n"          \
    "ldm    r12, {r4-r8}\n"            \
    "ldr    r12, [sp, #48]\n"          \
    "str    r12, [sp, #8]\n"           \
    "lsl    r3, r3, #2\n"              \
    "strd   r1, r3, [sp]\n"            \
    "0:\n"                             \
    "ldrd   r1, r3, [sp]\n"            \
    "lsrs   r12, r3, #3\n"             \
    "add    r3, r0\n"                  \
    "bcs    2f\n"                      \
    "1:\n"                             \
    TM_MUL_CHANNELS_FOUR(REQUANT)      \
    "2:\n"                             \
    TM_MUL_CHANNELS_FOUR(REQUANT)      \
    "cmp    r0, r3\n"                  \
    "bne    1b\n"                      \
    "ldr    r12, [sp, #8]\n"           \
    "subs   r12, #1\n"                 \
    "str    r12, [sp, #8]\n"           \
    "bne    0b\n"                      \
    "add    sp, #12\n"                 \
    "pop    {r4-r11, pc}\n"
/* clang-format on */

#define TM_MUL_CHANNELS_FOURS(name, form)                                                                   \
    TM_NAKED void name(const int8_t *x __attribute__((unused)), const int8_t *gate __attribute__((unused)), \
                       int8_t *y __attribute__((unused)), int32_t fours __attribute__((unused)),            \
                       int32_t pixels __attribute__((unused)),                                              \
                       const tm_mul_scale *scale __attribute__((unused)))                                   \
    {                                                                                                       \
        __asm__ volatile(TM_MUL_CHANNELS_BODY(TM_MUL_CHANNELS_REQUANT_##form));                             \
    }

#else

#define TM_MUL_CHANNELS_FOURS(name, form)                                                              \
    TM_SHARED void name(const int8_t *x, const int8_t *gate, int8_t *y, int32_t fours, int32_t pixels, \
                        const tm_mul_scale *scale)                                                     \
    {                                                                                                  \
        for (; pixels > 0; --pixels) {                                                                 \
            for (int32_t c = 0; c < 4 * fours; c += 4, x += 4, y += 4) {                               \
                tm_mul_channels_put(TM_REQUANT_##form, y, 4, tm_load4(x), tm_load4(gate + c), scale);  \
            }                                                                                          \
        }                                                                                              \
    }

#endif

/* `pixels` > 0 of four times `fours` > 0 channels. */
TM_MUL_CHANNELS_FOURS(tm_mul_channels_fours_3_dsp, 3)
TM_MUL_CHANNELS_FOURS(tm_mul_channels_fours_4_dsp, 4)

TM_INLINE void tm_mul_channels_s8_dsp(const int8_t *x, const int8_t *gate, int8_t *y, int32_t pixels,
                                      int32_t channels, int32_t zp_1, int32_t zp_2, int32_t form, int32_t a,
                                      int32_t b, int32_t zp_out, int32_t lo, int32_t hi)
{
    const tm_mul_scale scale = {tm_pkhbt(-zp_1, -zp_1), tm_pkhbt(-zp_2, -zp_2), a, b, zp_out + 128};
    const int32_t fours = channels / 4;
    const int32_t rest = channels % 4;
    const int32_t run = rest == 0 ? pixels : 1;
    for (int32_t p = 0; p < pixels; p += run) {
        if (fours > 0 && form == TM_REQUANT_3) {
            tm_mul_channels_fours_3_dsp(x, gate, y, fours, run, &scale);
        } else if (fours > 0) {
            tm_mul_channels_fours_4_dsp(x, gate, y, fours, run, &scale);
        }
        x += 4 * fours * run;
        y += 4 * fours * run;
        if (rest > 0) {
            tm_mul_channels_put(form, y, rest, tm_load_tail(x, rest), tm_load_tail(gate + 4 * fours, rest),
                                &scale);
            x += rest;
            y += rest;
        }
    }
    tm_clamp_row(y - pixels * channels, pixels * channels, lo, hi);
}

#endif

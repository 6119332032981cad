/* tm_mve: what the `_mve` kernels share: when Helium is there, and how they rescale accumulators.
 *
 * Helium is the vector extension of Armv8.1-M (Cortex-M55, M85): eight 128-bit registers. The hot loops of
 * the kernels are assembly, because VMLADAVA adds up in even core registers only, and with eight of them
 * at work GCC 12 spends more instructions on moving than on multiplying. Everywhere else (a host, or with
 * -DTM_NO_ASM or -O0) the same functions are C that reads the same streams and gives the same bytes.
 *
 * Vector loads take any address except where elements are wider than a byte.
 */
#ifndef TM_MVE_H
#define TM_MVE_H

#include "tm_dsp.h"

/* Without optimisation GCC finds no registers for the operands of the longer assembly. */
#if TM_DSP_ASM && defined(__ARM_FEATURE_MVE) && defined(__OPTIMIZE__)
#define TM_MVE_ASM 1
#include <arm_mve.h>
#else
#define TM_MVE_ASM 0
#endif

/* How a layer rescales its accumulators; chosen per layer by tinyml/kernels/mve.py from its shifts. All
 * give TFLite's double rounding exactly, for every int32 accumulator. With M the multiplier and s the right
 * shift, the stream holds two words (a, b) per channel:
 *
 *   TM_MVE_REQUANT_2    1 <= s <= 11   a = M, b = 2^(31-s) + 1
 *   TM_MVE_REQUANT_3    1 <= s <= 31   a = M, b = -s
 *   TM_MVE_REQUANT_ANY  any shift      a = M, b = TFLite's shift (positive: left)
 *
 * VQRDMULH is SRDHM. The second rounding is away from zero at halves, where the vector shifts round up.
 * The +1 of form 2 turns a negative half down by t / 2^31, less than one unit of t >> s as long as the
 * result lies within int8. Form 3 subtracts one from a negative t instead: VQRDMLAH adds the product to
 * acc >> 31, and where acc is negative but t is 0 the rounding shift makes 0 of -1 as well.
 */
enum { TM_MVE_REQUANT_ANY = 0, TM_MVE_REQUANT_2 = 2, TM_MVE_REQUANT_3 = 3 };

/* value >> bits, rounded, halves up; 0 <= bits <= 31: VRSHL by -bits. */
TM_INLINE int32_t tm_mve_round_shift(int32_t value, int32_t bits)
{
    return (int32_t)(((int64_t)value + (((int64_t)1 << bits) >> 1)) >> bits);
}

/* requant(acc) + zero_point, saturated to int8, as the vector code computes it lane by lane. */
TM_INLINE int8_t tm_mve_requant(int32_t form, int32_t acc, int32_t a, int32_t b, int32_t zero_point)
{
    int32_t value;
    if (form == TM_MVE_REQUANT_2) {
        value = tm_doubling_high_mul(tm_doubling_high_mul(acc, a), b);
    } else if (form == TM_MVE_REQUANT_3) {
        value = tm_mve_round_shift(tm_doubling_high_mul(acc, a) + (acc >> 31), -b);
    } else {
        value = tm_requant(acc, a, b);
    }
    return tm_clamp_s8(value, zero_point, -128, 127);
}

#if TM_MVE_ASM

/* The same as assembly, after the bias is added: vector Q holds four accumulators of one channel, core
 * registers R and S its words a and b. The result is in TM_MVE_RESULT_<form>(Q, T). Form 3 needs the vector T,
 * form ANY the core registers U and V besides; R, S, U and V are undefined afterwards.
 */
/* clang-format off */
#define TM_MVE_REQUANT_TEXT_2(Q, T, R, S, U, V) \
    "vqrdmulh.s32 " Q ", " Q ", " R "\n"        \
    "vqrdmulh.s32 " Q ", " Q ", " S "\n"
#define TM_MVE_REQUANT_TEXT_3(Q, T, R, S, U, V) \
    "vshr.s32 " T ", " Q ", #31\n"              \
    "vqrdmlah.s32 " T ", " Q ", " R "\n"        \
    "vrshl.s32 " T ", " S "\n"
#define TM_MVE_REQUANT_TEXT_ANY(Q, T, R, S, U, V)               \
    "asr " U ", " S ", #31\n"            /* -1: to the right */ \
    "bic " V ", " S ", " U "\n"          /* left shift, or 0 */ \
    "and " S ", " S ", " U "\n"          /* right, or 0 */      \
    "rsb " U ", " U ", #0\n"                                    \
    "vshl.s32 " Q ", " V "\n"                                   \
    "vqrdmulh.s32 " Q ", " Q ", " R "\n"                        \
    "vshr.s32 " T ", " Q ", #31\n"                              \
    "vmul.i32 " T ", " T ", " U "\n"                            \
    "vadd.i32 " Q ", " Q ", " T "\n"                            \
    "vrshl.s32 " Q ", " S "\n"
/* clang-format on */
#define TM_MVE_RESULT_2(Q, T) Q
#define TM_MVE_RESULT_3(Q, T) T
#define TM_MVE_RESULT_ANY(Q, T) Q

#endif

/* Copy n bytes to memory that does not overlap, n >= 0. */
#if TM_MVE_ASM
TM_INLINE void tm_mve_copy(int8_t *to, const int8_t *from, int32_t n)
{
    __asm__ volatile("wlstp.8 lr, %2, 2f\n"
                     "1:\n"
                     "vldrb.u8 q0, [%1], #16\n"
                     "vstrb.8 q0, [%0], #16\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : "+r"(to), "+r"(from)
                     : "r"(n)
                     : "lr", "q0", "memory", "cc");
}

TM_INLINE void tm_mve_fill(int8_t *to, int32_t value, int32_t n)
{
    __asm__ volatile("vdup.8 q0, %1\n"
                     "wlstp.8 lr, %2, 2f\n"
                     "1:\n"
                     "vstrb.8 q0, [%0], #16\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : "+r"(to)
                     : "r"(value), "r"(n)
                     : "lr", "q0", "memory", "cc");
}
#else
TM_INLINE void tm_mve_copy(int8_t *to, const int8_t *from, int32_t n)
{
    memcpy(to, from, (size_t)n);
}

TM_INLINE void tm_mve_fill(int8_t *to, int32_t value, int32_t n)
{
    memset(to, value, (size_t)n);
}
#endif

/* Clamp n bytes to [lo, hi]: for the rare fused activation whose range is narrower than int8. */
TM_INLINE void tm_mve_clamp_row(int8_t *y, int32_t n, int32_t lo, int32_t hi)
{
    if (lo > -128 || hi < 127) {
#if TM_MVE_ASM
        __asm__ volatile("vdup.8 q1, %1\n"
                         "vdup.8 q2, %2\n"
                         "wlstp.8 lr, %3, 2f\n"
                         "1:\n"
                         "vldrb.u8 q0, [%0]\n"
                         "vmax.s8 q0, q0, q1\n"
                         "vmin.s8 q0, q0, q2\n"
                         "vstrb.8 q0, [%0], #16\n"
                         "letp lr, 1b\n"
                         "2:\n"
                         : "+r"(y)
                         : "r"(lo), "r"(hi), "r"(n)
                         : "lr", "q0", "q1", "q2", "memory", "cc");
#else
        tm_clamp_row(y, n, lo, hi);
#endif
    }
}

#if TM_MVE_ASM

/* tm_requant lane by lane; multiplier and shift should be constants. */
TM_INLINE int32x4_t tm_mve_scale(int32x4_t v, int32_t multiplier, int32_t shift)
{
    if (shift >= 0) {
        return vqrdmulhq_n_s32(vshlq_r_s32(v, shift), multiplier);
    }
    return vrshlq_n_s32(vqrdmlahq_n_s32(vshrq_n_s32(v, 31), v, multiplier), shift);
}

/* Sixteen elements as their even and odd ones widen: lane i of v0 is element 4i, of v2 4i + 2, of v1 4i + 1, of v3
 * 4i + 3.
 */
typedef struct {
    int32x4_t v0;
    int32x4_t v2;
    int32x4_t v1;
    int32x4_t v3;
} tm_mve_words;

TM_INLINE tm_mve_words tm_mve_scale_all(tm_mve_words w, int32_t multiplier, int32_t shift)
{
    w.v0 = tm_mve_scale(w.v0, multiplier, shift);
    w.v2 = tm_mve_scale(w.v2, multiplier, shift);
    w.v1 = tm_mve_scale(w.v1, multiplier, shift);
    w.v3 = tm_mve_scale(w.v3, multiplier, shift);
    return w;
}

/* Add the zero point, saturate to int8, clamp to [lo, hi]. */
TM_INLINE int8x16_t tm_mve_narrow(tm_mve_words w, int32_t zero_point, int32_t lo, int32_t hi)
{
    int16x8_t even = vqmovntq_s32(vqmovnbq_s32(vuninitializedq_s16(), w.v0), w.v2);
    int16x8_t odd = vqmovntq_s32(vqmovnbq_s32(vuninitializedq_s16(), w.v1), w.v3);
    int8x16_t y;
    even = vqaddq_n_s16(even, (int16_t)zero_point);
    odd = vqaddq_n_s16(odd, (int16_t)zero_point);
    y = vqmovntq_s16(vqmovnbq_s16(vuninitializedq_s8(), even), odd);
    if (lo > -128) {
        y = vmaxq_s8(y, vdupq_n_s8((int8_t)lo));
    }
    if (hi < 127) {
        y = vminq_s8(y, vdupq_n_s8((int8_t)hi));
    }
    return y;
}

#endif

#endif

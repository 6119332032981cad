/* tm_dsp: the Armv7E-M / Armv8-M DSP instructions that the `_dsp` kernels are written in.
 *
 * With GCC or Clang for a core that has them, each function is one instruction. Anywhere else it
 * is C that gives the same bits, so that every kernel also runs, and is tested, on the host.
 * Words hold two signed halfwords, the lower one first in memory: little-endian cores only. Words of
 * activations are loaded from any address, which these cores do unless CCR.UNALIGN_TRP is set.
 */
#ifndef TM_DSP_H
#define TM_DSP_H

#include "tm_runtime.h"

#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
#define TM_DSP_INSTRUCTIONS 1
#else
#define TM_DSP_INSTRUCTIONS 0
#endif

/* Whole inner loops in assembly: GCC spills what fits the registers exactly.
 * Compile with -DTM_NO_ASM for the same loops in C.
 */
#if TM_DSP_INSTRUCTIONS && defined(__thumb2__) && !defined(TM_NO_ASM)
#define TM_DSP_ASM 1
#else
#define TM_DSP_ASM 0
#endif

/* Whether two instructions issue together: on the Cortex-M7, which has no macro of its own. Projects for a board
 * say so (runtime_c/platformio/board_files.py); elsewhere only its FPU of doubles gives it away. The same results
 * in another order of instructions, loads one by one beside the multiplications.
 */
#ifndef TM_DUAL_ISSUE
#if defined(__ARM_ARCH_7EM__) && defined(__ARM_FP) && (__ARM_FP & 8)
#define TM_DUAL_ISSUE 1
#else
#define TM_DUAL_ISSUE 0
#endif
#endif

/* One copy for all layers of a model: the loops inside are long, so a call costs next to nothing. */
#if defined(__GNUC__)
#define TM_SHARED static __attribute__((noinline, unused))
#else
#define TM_SHARED static
#endif

/* Whether the compiler knows that a condition holds, and speed counts: for copies of loops that need not ask. */
#if defined(__GNUC__) && !defined(__OPTIMIZE_SIZE__)
#define TM_CONSTANT(condition) (__builtin_constant_p(condition) && (condition))
#else
#define TM_CONSTANT(condition) 0
#endif

/* A function whose body is one block of assembly after the AAPCS. noipa: GCC must not see that the
 * parameters are unused in C and drop them from the calls; Clang leaves naked functions alone. Aligned,
 * as with -Os functions are not, and ADR counts from a word.
 */
#if TM_DSP_ASM && defined(__clang__)
#define TM_NAKED static __attribute__((naked, noinline, aligned(4), unused))
#elif TM_DSP_ASM
#define TM_NAKED static __attribute__((naked, noinline, noclone, noipa, aligned(4), unused))
#endif

/* Four bytes from any address. */
TM_INLINE int32_t tm_load4(const void *p)
{
    int32_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

/* The first n < 4 bytes of a word, zeros above: never reads past them. */
TM_INLINE int32_t tm_load_tail(const int8_t *p, int32_t n)
{
    uint32_t value = 0;
    if (n > 0) {
        value = (uint8_t)p[0];
    }
    if (n > 1) {
        value |= (uint32_t)(uint8_t)p[1] << 8;
    }
    if (n > 2) {
        value |= (uint32_t)(uint8_t)p[2] << 16;
    }
    return (int32_t)value;
}

/* The byte repeated in all four places of a word. */
TM_INLINE int32_t tm_splat4(int32_t value)
{
    return (int32_t)(0x01010101u * (uint8_t)value);
}

#if TM_DSP_INSTRUCTIONS

#define TM_DSP_UNARY(name, text)          \
    TM_INLINE int32_t name(int32_t a)     \
    {                                     \
        int32_t d;                        \
        __asm__(text : "=r"(d) : "r"(a)); \
        return d;                         \
    }
#define TM_DSP_BINARY(name, text)                 \
    TM_INLINE int32_t name(int32_t a, int32_t b)  \
    {                                             \
        int32_t d;                                \
        __asm__(text : "=r"(d) : "r"(a), "r"(b)); \
        return d;                                 \
    }
#define TM_DSP_TERNARY(name, text)                          \
    TM_INLINE int32_t name(int32_t a, int32_t b, int32_t c) \
    {                                                       \
        int32_t d;                                          \
        __asm__(text : "=r"(d) : "r"(a), "r"(b), "r"(c));   \
        return d;                                           \
    }

TM_DSP_UNARY(tm_sxtb16, "sxtb16 %0, %1")
TM_DSP_UNARY(tm_sxtb16_ror8, "sxtb16 %0, %1, ror #8")
TM_DSP_UNARY(tm_ssat8, "ssat %0, #8, %1")
TM_DSP_UNARY(tm_ssat16, "ssat %0, #16, %1")
TM_DSP_UNARY(tm_usat15, "usat %0, #15, %1")
TM_DSP_BINARY(tm_pkhbt, "pkhbt %0, %1, %2, lsl #16")
TM_DSP_BINARY(tm_pkhtb, "pkhtb %0, %1, %2, asr #16")
TM_DSP_BINARY(tm_sxtab16, "sxtab16 %0, %1, %2")
TM_DSP_BINARY(tm_sxtab16_ror8, "sxtab16 %0, %1, %2, ror #8")
TM_DSP_BINARY(tm_smmulr, "smmulr %0, %1, %2")
TM_DSP_BINARY(tm_smulbb, "smulbb %0, %1, %2")
TM_DSP_BINARY(tm_smultt, "smultt %0, %1, %2")
TM_DSP_TERNARY(tm_smlad, "smlad %0, %1, %2, %3")
TM_DSP_TERNARY(tm_smlabb, "smlabb %0, %1, %2, %3")
TM_DSP_TERNARY(tm_smlabt, "smlabt %0, %1, %2, %3")
TM_DSP_TERNARY(tm_smlatb, "smlatb %0, %1, %2, %3")
TM_DSP_TERNARY(tm_smlatt, "smlatt %0, %1, %2, %3")
TM_DSP_TERNARY(tm_smlawb, "smlawb %0, %1, %2, %3")
TM_DSP_TERNARY(tm_smlawt, "smlawt %0, %1, %2, %3")
TM_DSP_TERNARY(tm_smmla, "smmla %0, %1, %2, %3")
TM_DSP_TERNARY(tm_smmlar, "smmlar %0, %1, %2, %3")
TM_DSP_TERNARY(tm_smmlsr, "smmlsr %0, %1, %2, %3")

TM_INLINE int64_t tm_smlald(int32_t a, int32_t b, int64_t c)
{
    __asm__("smlald %Q0, %R0, %1, %2" : "+r"(c) : "r"(a), "r"(b));
    return c;
}

#undef TM_DSP_UNARY
#undef TM_DSP_BINARY
#undef TM_DSP_TERNARY

#else

/* Left to the compiler: without optimisation, copies in every kernel would be megabytes. */
#if defined(__GNUC__)
#define TM_EMULATED static inline __attribute__((unused))
#else
#define TM_EMULATED static inline
#endif

TM_EMULATED int32_t tm_low16(int32_t word)
{
    return (int16_t)(uint16_t)((uint32_t)word & 0xffffu);
}

TM_EMULATED int32_t tm_high16(int32_t word)
{
    return word >> 16;
}

TM_EMULATED int32_t tm_pair16(int32_t low, int32_t high)
{
    return (int32_t)(((uint32_t)low & 0xffffu) | (uint32_t)high << 16);
}

TM_EMULATED int32_t tm_add_wrapping(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

/* Bytes 0 and 2, sign-extended to halfwords. */
TM_EMULATED int32_t tm_sxtb16(int32_t a)
{
    return tm_pair16((int8_t)(uint8_t)((uint32_t)a & 0xffu), (int8_t)(uint8_t)((uint32_t)a >> 16 & 0xffu));
}

/* Bytes 1 and 3, sign-extended to halfwords. */
TM_EMULATED int32_t tm_sxtb16_ror8(int32_t a)
{
    return tm_sxtb16((int32_t)((uint32_t)a >> 8));
}

/* The halfwords of a, plus bytes 0 and 2 of b. */
TM_EMULATED int32_t tm_sxtab16(int32_t a, int32_t b)
{
    const int32_t addend = tm_sxtb16(b);
    return tm_pair16(tm_low16(a) + tm_low16(addend), tm_high16(a) + tm_high16(addend));
}

/* The halfwords of a, plus bytes 1 and 3 of b. */
TM_EMULATED int32_t tm_sxtab16_ror8(int32_t a, int32_t b)
{
    return tm_sxtab16(a, (int32_t)((uint32_t)b >> 8));
}

/* Saturate to int8. */
TM_EMULATED int32_t tm_ssat8(int32_t a)
{
    return tm_clamp(a, -128, 127);
}

/* Saturate to int16. */
TM_EMULATED int32_t tm_ssat16(int32_t a)
{
    return tm_clamp(a, -32768, 32767);
}

/* Saturate to 15 bits, negative numbers to 0. */
TM_EMULATED int32_t tm_usat15(int32_t a)
{
    return tm_clamp(a, 0, 32767);
}

/* Halfwords (low of a, low of b). */
TM_EMULATED int32_t tm_pkhbt(int32_t a, int32_t b)
{
    return tm_pair16(a, b);
}

/* Halfwords (high of b, high of a). */
TM_EMULATED int32_t tm_pkhtb(int32_t a, int32_t b)
{
    return tm_pair16(tm_high16(b), tm_high16(a));
}

/* c + a.low * b.low + a.high * b.high. */
TM_EMULATED int32_t tm_smlad(int32_t a, int32_t b, int32_t c)
{
    return tm_add_wrapping(tm_add_wrapping(c, tm_low16(a) * tm_low16(b)), tm_high16(a) * tm_high16(b));
}

/* The same in 64 bits. */
TM_EMULATED int64_t tm_smlald(int32_t a, int32_t b, int64_t c)
{
    return c + (int64_t)(tm_low16(a) * tm_low16(b)) + (int64_t)(tm_high16(a) * tm_high16(b));
}

/* c + a.low * b.low. */
TM_EMULATED int32_t tm_smlabb(int32_t a, int32_t b, int32_t c)
{
    return tm_add_wrapping(c, tm_low16(a) * tm_low16(b));
}

/* c + a.low * b.high. */
TM_EMULATED int32_t tm_smlabt(int32_t a, int32_t b, int32_t c)
{
    return tm_add_wrapping(c, tm_low16(a) * tm_high16(b));
}

/* c + a.high * b.low. */
TM_EMULATED int32_t tm_smlatb(int32_t a, int32_t b, int32_t c)
{
    return tm_add_wrapping(c, tm_high16(a) * tm_low16(b));
}

/* c + a.high * b.high. */
TM_EMULATED int32_t tm_smlatt(int32_t a, int32_t b, int32_t c)
{
    return tm_add_wrapping(c, tm_high16(a) * tm_high16(b));
}

/* a.low * b.low. */
TM_EMULATED int32_t tm_smulbb(int32_t a, int32_t b)
{
    return tm_low16(a) * tm_low16(b);
}

/* a.high * b.high. */
TM_EMULATED int32_t tm_smultt(int32_t a, int32_t b)
{
    return tm_high16(a) * tm_high16(b);
}

/* c + floor(a * b.low / 2^16). */
TM_EMULATED int32_t tm_smlawb(int32_t a, int32_t b, int32_t c)
{
    return tm_add_wrapping(c, (int32_t)((int64_t)a * tm_low16(b) >> 16));
}

/* c + floor(a * b.high / 2^16). */
TM_EMULATED int32_t tm_smlawt(int32_t a, int32_t b, int32_t c)
{
    return tm_add_wrapping(c, (int32_t)((int64_t)a * tm_high16(b) >> 16));
}

/* The high word of (c << 32) + a * b, modulo 2^64. */
TM_EMULATED int32_t tm_smmla(int32_t a, int32_t b, int32_t c)
{
    return (int32_t)((((uint64_t)(uint32_t)c << 32) + (uint64_t)((int64_t)a * b)) >> 32);
}

/* The same, rounded: halves up. */
TM_EMULATED int32_t tm_smmlar(int32_t a, int32_t b, int32_t c)
{
    return (int32_t)((((uint64_t)(uint32_t)c << 32) + (uint64_t)((int64_t)a * b) + 0x80000000u) >> 32);
}

/* The high word of a * b, rounded: halves up. */
TM_EMULATED int32_t tm_smmulr(int32_t a, int32_t b)
{
    return tm_smmlar(a, b, 0);
}

/* The high word of (c << 32) - a * b, modulo 2^64, rounded: halves up. */
TM_EMULATED int32_t tm_smmlsr(int32_t a, int32_t b, int32_t c)
{
    return (int32_t)((((uint64_t)(uint32_t)c << 32) - (uint64_t)((int64_t)a * b) + 0x80000000u) >> 32);
}

#endif

/* Bytes 0 and 2 times 256, in halfwords. */
TM_INLINE int32_t tm_even_bytes_high(int32_t word)
{
    return (int32_t)((uint32_t)word << 8 & 0xff00ff00u);
}

/* Bytes 1 and 3 times 256, in halfwords. */
TM_INLINE int32_t tm_odd_bytes_high(int32_t word)
{
    return (int32_t)((uint32_t)word & 0xff00ff00u);
}

/* Packed pairs of weights: the halfword 256 w1 + w0. SXTB16 leaves w0, while products with the raw halfword add
 * up to 256 A1 + A0, from which one subtraction frees A1: int8 in flash at nearly the speed of int16. `odd` and
 * `even` started from the same value; `bias` is the odd channel's own.
 *
 * Exact where |A1| < 2^23 (what lies above is cut off by the sums modulo 2^32) and every halfword is an int16
 * (w1 = -128 with a negative w0 is not): tinyml/kernels/dsp_streams.py, packable.
 */
TM_INLINE int32_t tm_unpack_odd(int32_t odd, int32_t even, int32_t bias)
{
    return bias + ((int32_t)((uint32_t)odd - (uint32_t)even) >> 8);
}

/* How a layer rescales its accumulators; chosen per layer by tinyml/kernels/dsp.py from its shifts.
 * All but form 1 give TFLite's double rounding exactly, for every int32 accumulator. With M the multiplier and
 * s the right shift, the stream holds two words (a, b) per channel:
 *
 *   TM_REQUANT_3    2 <= s <= 12   a = 2M - 2^32, b = 2^(32-s) + 1
 *   TM_REQUANT_4    1 <= s <= 31   a = 2M - 2^32, b = -2^(32-s)
 *   TM_REQUANT_ANY  any shift      a = M,         b = TFLite's shift (positive: left),
 *                                  or, channel by channel, form 4 where that makes b less than -31
 *   TM_REQUANT_1    2 <= s <= 31   a = 2M - 2^32, b = 2^(32-s): FULLY_CONNECTED's single rounding
 *   TM_REQUANT_2_n  one rounding   a, b found by tinyml/kernels/dsp_requant.py
 *
 * acc * a + (acc << 32) = 2 M acc, so SMMLAR is SRDHM without overflow. The second rounding is away
 * from zero at halves: the +1 of form 3 does it by t / 2^32, less than one unit of t >> s as long as
 * the result lies within int8; form 4 subtracts one from a negative t instead. In form 1 SMMLA rounds down,
 * so that what the second step rounds is as good as the product itself.
 *
 * Where every output below the zero point saturates, a line rounded once, ((acc * a >> 32) + b) >> n, can have the
 * same steps for every accumulator that the layer's weights can give: two instructions, the zero point in b.
 */
enum {
    TM_REQUANT_ANY = 0,
    TM_REQUANT_1 = 1,
    TM_REQUANT_3 = 3,
    TM_REQUANT_4 = 4,
    TM_REQUANT_2 = 16, /* and n */
    TM_REQUANT_2_2 = 18,
    TM_REQUANT_2_4 = 20
};

/* The same in assembly, a and b in r2 and r3. */
#define TM_ASM_REQUANT_2(acc, n)        \
    "smmla  " acc ", " acc ", r2, r3\n" \
    "ssat   " acc ", #8, " acc ", asr #" n "\n"

/* Whether the word b of a channel in form ANY says that its two words are those of form 4. */
TM_INLINE int32_t tm_requant_is_4(int32_t b)
{
    return b < -31;
}

/* requant(acc) + zero_point, saturated to int8. `form` must be a constant where it is inlined. */
TM_INLINE int8_t tm_requant_dsp(int32_t form, int32_t acc, int32_t a, int32_t b, int32_t zero_point)
{
    if (form >= TM_REQUANT_2) {
        return (int8_t)tm_ssat8(tm_smmla(acc, a, b) >> (form - TM_REQUANT_2));
    }
    if (form == TM_REQUANT_3) {
        return (int8_t)tm_ssat8(tm_smmlar(tm_smmlar(acc, a, acc), b, zero_point));
    }
    if (form == TM_REQUANT_1) {
        return (int8_t)tm_ssat8(tm_smmlar(tm_smmla(acc, a, acc), b, zero_point));
    }
    if (form == TM_REQUANT_4 || (form == TM_REQUANT_ANY && tm_requant_is_4(b))) {
        const int32_t t = tm_smmlar(acc, a, acc);
        return (int8_t)tm_ssat8(tm_smmlsr(t + (t >> 31), b, zero_point));
    }
    return tm_clamp_s8(tm_requant(acc, a, b), zero_point, -128, 127);
}

/* Call name##_3_dsp and so on, the copy of a function for a form that is not TM_REQUANT_ANY. */
#define TM_REQUANT_CALL(name, form, ...)                      \
    ((form) == TM_REQUANT_3     ? name##_3_dsp(__VA_ARGS__)   \
     : (form) == TM_REQUANT_4   ? name##_4_dsp(__VA_ARGS__)   \
     : (form) == TM_REQUANT_2_2 ? name##_2_2_dsp(__VA_ARGS__) \
                                : name##_2_4_dsp(__VA_ARGS__))

/* The odd channel of a packed pair, requantised. In the forms of one rounding it starts 256 times its own bias above
 * the even one, and the difference is taken as it is; in the others `bias` is its own (tm_unpack_odd).
 */
TM_INLINE int8_t tm_requant_odd_dsp(int32_t form, int32_t odd, int32_t even, int32_t bias, int32_t a,
                                    int32_t b, int32_t zero_point)
{
    if (form >= TM_REQUANT_2) {
        return tm_requant_dsp(form + 8, (int32_t)((uint32_t)odd - (uint32_t)even), a, b, zero_point);
    }
    return tm_requant_dsp(form, tm_unpack_odd(odd, even, bias), a, b, zero_point);
}

/* Clamp n bytes to [lo, hi]: for the rare fused activation whose range is narrower than int8. */
TM_INLINE void tm_clamp_row(int8_t *y, int32_t n, int32_t lo, int32_t hi)
{
    if (lo > -128 || hi < 127) {
        for (int32_t i = 0; i < n; ++i) {
            y[i] = (int8_t)tm_clamp(y[i], lo, hi);
        }
    }
}

#endif

/* tm_runtime: what every kernel shares: inlining, requantisation, clamping, dot products.
 *
 * Integer arithmetic only. No allocation, no globals, no library calls beyond memcpy, memmove
 * and memset. C11 and C++11; any compiler whose signed right shift is arithmetic (all that
 * target Arm, x86 and RISC-V).
 */
#ifndef TM_RUNTIME_H
#define TM_RUNTIME_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Kernels are specialised by inlining: the generated calls pass every shape as a literal. */
#if defined(__GNUC__) || defined(__clang__)
#define TM_INLINE static inline __attribute__((always_inline, unused))
#define TM_RESTRICT __restrict__
/* One copy per distinct operator: inlining it into the caller would add up the stacks of all. */
#define TM_NOINLINE __attribute__((noinline))
#define TM_ALIGNED(bytes) __attribute__((aligned(bytes)))
#define TM_ASSUME_ALIGNED(pointer, bytes) __builtin_assume_aligned(pointer, bytes)
#else
#define TM_INLINE static inline
#define TM_RESTRICT
#define TM_NOINLINE
#define TM_ALIGNED(bytes)
#define TM_ASSUME_ALIGNED(pointer, bytes) (pointer)
#endif

/* Unroll the loop that follows four times: small cores spend a third of a short loop on its counter. */
#if defined(__clang__)
#define TM_UNROLL_4 _Pragma("clang loop unroll_count(4)")
#elif defined(__GNUC__)
#define TM_UNROLL_4 _Pragma("GCC unroll 4")
#else
#define TM_UNROLL_4
#endif

/* A left shift that wraps instead of being undefined. */
TM_INLINE int32_t tm_shift_left(int32_t value, int32_t bits)
{
    return (int32_t)((uint32_t)value << bits);
}

/* round(a * b / 2^31): gemmlowp's SaturatingRoundingDoublingHighMul for b >= 0, where it never
 * saturates. Halves round up.
 */
TM_INLINE int32_t tm_doubling_high_mul(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}

/* round(value / 2^bits), halves away from zero, 0 <= bits <= 31: gemmlowp's RoundingDivideByPOT. */
TM_INLINE int32_t tm_rounding_shift_right(int32_t value, int32_t bits)
{
    const uint32_t mask = ((uint32_t)1 << bits) - 1u;
    const uint32_t remainder = (uint32_t)value & mask;
    const uint32_t threshold = (mask >> 1) + (value < 0 ? 1u : 0u);
    return (value >> bits) + (remainder > threshold ? 1 : 0);
}

/* value * multiplier * 2^(shift - 31), rounded twice: TFLite's MultiplyByQuantizedMultiplier
 * (kernels/internal/common.cc). multiplier >= 0, -31 <= shift <= 30. Where value * 2^shift leaves
 * int32 the reference is undefined and this wraps.
 */
TM_INLINE int32_t tm_requant(int32_t value, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t right = shift > 0 ? 0 : -shift;
    return tm_rounding_shift_right(tm_doubling_high_mul(tm_shift_left(value, left), multiplier), right);
}

/* value * multiplier * 2^(shift - 31), rounded once, halves up: what LiteRT's FULLY_CONNECTED
 * does. multiplier >= 0, -31 <= shift <= 30. A result beyond int32 wraps, as there.
 */
TM_INLINE int32_t tm_requant_single(int32_t value, int32_t multiplier, int32_t shift)
{
    const int32_t bits = 31 - shift;
    return (int32_t)(((int64_t)value * multiplier + ((int64_t)1 << (bits - 1))) >> bits);
}

TM_INLINE int32_t tm_min(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

TM_INLINE int32_t tm_max(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

TM_INLINE int32_t tm_clamp(int32_t value, int32_t lo, int32_t hi)
{
    return value < lo ? lo : (value > hi ? hi : value);
}

/* Clamp value + zero_point to [lo, hi], both within int8. The sum itself cannot overflow. */
TM_INLINE int8_t tm_clamp_s8(int32_t value, int32_t zero_point, int32_t lo, int32_t hi)
{
    return (int8_t)(tm_clamp(value, lo - zero_point, hi - zero_point) + zero_point);
}

/* memcpy where runs are short, or the library's goes byte by byte as on the smallest cores. */
TM_INLINE void tm_copy_s8(int8_t *y, const int8_t *x, int32_t n)
{
    int32_t i = 0;
    if ((((uintptr_t)x | (uintptr_t)y) & 3u) == 0) {
        TM_UNROLL_4
        for (; i + 4 <= n; i += 4) {
            uint32_t word;
            memcpy(&word, TM_ASSUME_ALIGNED(x + i, 4), 4);
            memcpy(TM_ASSUME_ALIGNED(y + i, 4), &word, 4);
        }
    }
    TM_UNROLL_4
    for (; i < n; ++i) {
        y[i] = x[i];
    }
}

/* memset, likewise. */
TM_INLINE void tm_fill_s8(int8_t *y, int32_t value, int32_t n)
{
    const uint32_t word = 0x01010101u * (uint8_t)value;
    int32_t i = 0;
    if (((uintptr_t)y & 3u) == 0) {
        TM_UNROLL_4
        for (; i + 4 <= n; i += 4) {
            memcpy(TM_ASSUME_ALIGNED(y + i, 4), &word, 4);
        }
    }
    TM_UNROLL_4
    for (; i < n; ++i) {
        y[i] = (int8_t)value;
    }
}

/* acc + sum x[i] * w[i], i < n. */
TM_INLINE int32_t tm_dot_s8(const int8_t *x, const int8_t *w, int32_t n, int32_t acc)
{
    TM_UNROLL_4
    for (int32_t i = 0; i < n; ++i) {
        acc += (int32_t)x[i] * w[i];
    }
    return acc;
}

/* Two dot products with the same x, which is loaded once: acc[k] += sum x[i] * wk[i], i < n. */
TM_INLINE void tm_dot2_s8(const int8_t *x, const int8_t *w0, const int8_t *w1, int32_t n, int32_t acc[2])
{
    int32_t acc0 = acc[0];
    int32_t acc1 = acc[1];
    TM_UNROLL_4
    for (int32_t i = 0; i < n; ++i) {
        const int32_t value = x[i];
        acc0 += value * w0[i];
        acc1 += value * w1[i];
    }
    acc[0] = acc0;
    acc[1] = acc1;
}

/* First tap k >= 0 with start + k * dilation >= 0. */
TM_INLINE int32_t tm_first_tap(int32_t start, int32_t dilation)
{
    return start >= 0 ? 0 : (dilation - 1 - start) / dilation;
}

/* One past the last tap k < taps with start + k * dilation < size; never below 0. */
TM_INLINE int32_t tm_end_tap(int32_t start, int32_t dilation, int32_t taps, int32_t size)
{
    const int32_t room = size - start;
    const int32_t end = room <= 0 ? 0 : (room + dilation - 1) / dilation;
    return end < taps ? end : taps;
}

/* A walk through a shape of TM_RANK dimensions, padded with ones in front, run by run: a run is its
 * last dimension. geometry[0..5] are the dimensions; then follow TM_RANK strides, in elements, for each
 * of the tensors walked through.
 */
#define TM_RANK 6

TM_INLINE int32_t tm_walk_runs(const int32_t *geometry)
{
    int32_t runs = 1;
    for (int32_t axis = 0; axis < TM_RANK - 1; ++axis) {
        runs *= geometry[axis];
    }
    return runs;
}

/* Move on to the next run: `index` counts (zero at first), `offset` has one entry per tensor. */
TM_INLINE void tm_walk_next(const int32_t *geometry, int32_t tensors, int32_t index[TM_RANK - 1],
                            int32_t *offset)
{
    for (int32_t axis = TM_RANK - 2; axis >= 0; --axis) {
        const int32_t wraps = ++index[axis] == geometry[axis];
        for (int32_t t = 0; t < tensors; ++t) {
            const int32_t stride = geometry[(t + 1) * TM_RANK + axis];
            offset[t] += wraps ? stride - geometry[axis] * stride : stride;
        }
        if (!wraps) {
            return;
        }
        index[axis] = 0;
    }
}

#endif

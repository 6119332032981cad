/* tm_ref: what the references share. Written from the definitions, for tests only; no kernel uses it. */
#ifndef TM_REF_H
#define TM_REF_H

#include <stdint.h>

/* gemmlowp SaturatingRoundingDoublingHighMul: round(a * b / 2^31), a signed nudge, then truncation. */
static inline int32_t tm_ref_doubling_high_mul(int32_t a, int32_t b)
{
    const int64_t product = (int64_t)a * b;
    const int64_t nudge = product >= 0 ? (int64_t)1 << 30 : 1 - ((int64_t)1 << 30);
    const int64_t result = (product + nudge) / ((int64_t)1 << 31);
    return result > INT32_MAX ? INT32_MAX : (int32_t)result;
}

/* gemmlowp RoundingDivideByPOT: round(value / 2^bits), halves away from zero. */
static inline int32_t tm_ref_rounding_divide(int32_t value, int32_t bits)
{
    const int64_t divisor = (int64_t)1 << bits;
    const int64_t magnitude = value < 0 ? -(int64_t)value : value;
    const int64_t rounded = (2 * magnitude + divisor) / (2 * divisor);
    return (int32_t)(value < 0 ? -rounded : rounded);
}

/* TFLite MultiplyByQuantizedMultiplier, two roundings. */
static inline int32_t tm_ref_requant(int32_t value, int32_t multiplier, int32_t shift)
{
    const int64_t shifted = shift > 0 ? (int64_t)value * ((int64_t)1 << shift) : value;
    return tm_ref_rounding_divide(tm_ref_doubling_high_mul((int32_t)shifted, multiplier),
                                  shift > 0 ? 0 : -shift);
}

/* One rounding, halves up: floor(value * multiplier / 2^(31 - shift) + 1/2). */
static inline int32_t tm_ref_requant_single(int32_t value, int32_t multiplier, int32_t shift)
{
    const int64_t divisor = (int64_t)1 << (31 - shift);
    const int64_t dividend = (int64_t)value * multiplier + divisor / 2;
    const int64_t quotient = dividend / divisor;
    return (int32_t)(dividend % divisor < 0 ? quotient - 1 : quotient);
}

static inline int8_t tm_ref_clamp(int64_t value, int32_t lo, int32_t hi)
{
    return (int8_t)(value < lo ? lo : (value > hi ? hi : value));
}

/* Shapes have six dimensions, with ones in front. */
static inline int32_t tm_ref_elements(const int32_t *dims)
{
    return dims[0] * dims[1] * dims[2] * dims[3] * dims[4] * dims[5];
}

/* Index of element `n` along each dimension. */
static inline void tm_ref_unravel(const int32_t *dims, int32_t n, int32_t *index)
{
    for (int32_t axis = 5; axis >= 0; --axis) {
        index[axis] = n % dims[axis];
        n /= dims[axis];
    }
}

/* Element number of an index; a dimension of one repeats. */
static inline int32_t tm_ref_ravel(const int32_t *dims, const int32_t *index)
{
    int32_t n = 0;
    for (int32_t axis = 0; axis < 6; ++axis) {
        n = n * dims[axis] + (dims[axis] == 1 ? 0 : index[axis]);
    }
    return n;
}

#endif

/* requant_cases.h: multipliers and accumulators aimed at where a short requantisation could go wrong. */
#ifndef REQUANT_CASES_H
#define REQUANT_CASES_H

#include <stdint.h>

static uint32_t state = 2463534242u;
static uint32_t random32(void)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static int32_t accumulator(int32_t multiplier, int32_t s, uint32_t kind)
{
    if (kind == 0) {
        return (int32_t)random32() >> (random32() & 31);
    }
    if (kind == 1) {
        const int32_t near = (int32_t)(random32() & 15);
        return random32() & 1 ? INT32_MAX - near : INT32_MIN + near;
    }
    /* value * multiplier / 2^31 lies beside a half of the shift by s, value within int8's reach */
    const int64_t y = (int64_t)(random32() % 520) - 260;
    const int64_t half = (y * ((int64_t)1 << s)) + ((int64_t)1 << s) / 2 + (int64_t)(random32() % 3) - 1;
    if (half > INT32_MAX || half < INT32_MIN) {
        return (int32_t)random32();
    }
    const int64_t value = half * 2147483648 / multiplier + (int64_t)(random32() % 3) - 1;
    return value > INT32_MAX || value < INT32_MIN ? (int32_t)random32() : (int32_t)value;
}

static int32_t a_multiplier(void)
{
    switch (random32() % 4) {
    case 0:
        return 1 << 30;
    case 1:
        return INT32_MAX;
    case 2:
        return (1 << 30) + (int32_t)(random32() & 7);
    default:
        return (1 << 30) + (int32_t)(random32() & 0x3fffffff);
    }
}

#endif

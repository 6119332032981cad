/* clock_stm32u5.c: HSI16 and PLL1 of STM32U575, range 1 with the EPOD booster. Not run on silicon.
 * Source: RM0456, chapters flash (wait states), PWR (voltage scaling, EPOD booster), RCC, ICACHE; compared
 * with ST's LL driver and Zephyr's clock driver.
 */
#include "tm_regs.h"

#if defined(TM_CLOCK_STM32U5)

#define RCC 0x46020C00u /* CR +0, CFGR1 +1C, PLL1CFGR +28, PLL1DIVR +34, AHB3ENR +94 */
#define PWR_VOSR 0x4602080Cu
#define FLASH_ACR 0x40022000u
#define ICACHE_CR 0x40030400u
#define RESET_HZ 4000000u /* MSIS */

_Static_assert(TM_CLOCK_SOURCE_HZ <= 16000000u, "the booster takes 4 to 16 MHz, undivided here");

static bool start_pll(void)
{
    TM_REG(RCC + 0x94u) |= 1u << 2; /* PWREN */
    (void)TM_REG(RCC + 0x94u);
    TM_REG(RCC) |= 1u << 8; /* HSION */
    if (!tm_reg_wait(RCC, 1u << 10, 1u << 10)) {
        return false;
    }
    /* Source, input range and booster divider first: the booster runs on the PLL's source. */
    const uint32_t range = TM_CLOCK_SOURCE_HZ / TM_PLL_M > 8000000u ? 3u : 0u;
    TM_REG(RCC + 0x28u) = 2u | range << 2 | (TM_PLL_M - 1u) << 8 | 1u << 18; /* HSI16, R on */
    TM_REG(RCC + 0x34u) =
        (TM_PLL_N - 1u) | 1u << 9 | 1u << 16 | (TM_PLL_P - 1u) << 24; /* R carries the core */
    TM_REG(PWR_VOSR) |= 3u << 16;                                     /* range 1 */
    if (!tm_reg_wait(PWR_VOSR, 1u << 15, 1u << 15)) {
        return false;
    }
    TM_REG(PWR_VOSR) |= 1u << 18; /* BOOSTEN, needed above 55 MHz */
    if (!tm_reg_wait(PWR_VOSR, 1u << 14, 1u << 14)) {
        return false;
    }
    TM_REG(RCC) |= 1u << 24; /* PLL1ON */
    return tm_reg_wait(RCC, 1u << 25, 1u << 25);
}

void tm_clock_init(void)
{
    tm_clock_core_hz = RESET_HZ;
    tm_clock_uart_hz = RESET_HZ;
    TM_REG(ICACHE_CR) |= 1u;
    if (!start_pll()) {
        return;
    }
    TM_REG(FLASH_ACR) = TM_FLASH_WAIT_STATES | 1u << 8; /* prefetch */
    if (!tm_reg_wait(FLASH_ACR, 0xFu, TM_FLASH_WAIT_STATES)) {
        return;
    }
    tm_reg_modify(RCC + 0x1Cu, 3u, 3u); /* SW: PLL1 */
    if (tm_reg_wait(RCC + 0x1Cu, 3u << 2, 3u << 2)) {
        tm_clock_core_hz = TM_CLOCK_HZ;
        tm_clock_uart_hz = TM_CLOCK_HZ / TM_UART_APB_DIV;
    }
}

#endif

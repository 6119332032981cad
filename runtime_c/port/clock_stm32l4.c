/* clock_stm32l4.c: HSI16 and main PLL of STM32L4+ in range 1 boost mode. Not run on silicon.
 * Source: RM0432, chapters flash (wait states), PWR (range 1 boost mode, IOSV), RCC.
 */
#include "tm_regs.h"

#if defined(TM_CLOCK_STM32L4)

#define RCC 0x40021000u /* CR +0, CFGR +8, PLLCFGR +C, APB1ENR1 +58 */
#define PWR 0x40007000u /* CR2 +4, CR5 +80 */
#define FLASH_ACR 0x40022000u
#define RESET_HZ 4000000u /* MSI */

void tm_clock_init(void)
{
    tm_clock_core_hz = RESET_HZ;
    tm_clock_uart_hz = RESET_HZ;
    TM_REG(RCC + 0x58u) |= 1u << 28; /* PWREN */
    (void)TM_REG(RCC + 0x58u);
    TM_REG(PWR + 4u) |= 1u << 9; /* IOSV: pins PG2 to PG15, the serial port's, are dead without */
    TM_REG(RCC) |= 1u << 8;      /* HSION */
    if (!tm_reg_wait(RCC, 1u << 10, 1u << 10)) {
        return;
    }
    TM_REG(PWR + 0x80u) &= ~(1u << 8); /* R1MODE = 0: boost, needed above 80 MHz */
    TM_REG(RCC + 0xCu) = 2u | (TM_PLL_M - 1u) << 4 | TM_PLL_N << 8 | 1u << 24 | (TM_PLL_P / 2u - 1u) << 25;
    TM_REG(RCC) |= 1u << 24; /* PLLON */
    if (!tm_reg_wait(RCC, 1u << 25, 1u << 25)) {
        return;
    }
    TM_REG(FLASH_ACR) = TM_FLASH_WAIT_STATES | 1u << 8 | 1u << 9 | 1u << 10; /* prefetch, caches */
    if (!tm_reg_wait(FLASH_ACR, 0xFu, TM_FLASH_WAIT_STATES)) {
        return;
    }
    /* Through AHB / 2 for at least 1 us, so that the regulator sees no step above 80 MHz. */
    tm_reg_modify(RCC + 8u, 0xFu << 4, 8u << 4);
    tm_reg_modify(RCC + 8u, 3u, 3u); /* SW: PLL */
    const bool switched = tm_reg_wait(RCC + 8u, 3u << 2, 3u << 2);
    for (volatile uint32_t i = 0; i < 60u; ++i) {
    }
    tm_reg_modify(RCC + 8u, 0xFu << 4, 0);
    if (switched) {
        tm_clock_core_hz = TM_CLOCK_HZ;
        tm_clock_uart_hz = TM_CLOCK_HZ / TM_UART_APB_DIV;
    }
}

#endif

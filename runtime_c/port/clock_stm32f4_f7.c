/* clock_stm32f4_f7.c: HSE and main PLL of STM32F405/407 and F745/746, which share their RCC.
 * Not run on silicon; on QEMU's netduinoplus2 (no RCC there) the fall-back path runs.
 * Source: RM0090 and RM0385, chapters flash interface (wait states), PWR (voltage scaling, over-drive), RCC.
 */
#include "tm_regs.h"

#if defined(TM_CLOCK_STM32F4) || defined(TM_CLOCK_STM32F7)

#define RCC_CR 0x40023800u
#define RCC_PLLCFGR 0x40023804u
#define RCC_CFGR 0x40023808u
#define RCC_APB1ENR 0x40023840u
#define PWR_CR 0x40007000u
#define PWR_CSR 0x40007004u
#define FLASH_ACR 0x40023C00u
#define RESET_HZ 16000000u /* HSI */

enum { HSEON = 1 << 16, HSERDY = 1 << 17, HSEBYP = 1 << 18, PLLON = 1 << 24, PLLRDY = 1 << 25 };

/* The code of an APB prescaler: 1, 2 or 4. */
static uint32_t apb_code(uint32_t divider)
{
    return divider == 4u ? 5u : divider == 2u ? 4u : 0u;
}

static bool start_pll(void)
{
#if defined(TM_CLOCK_SOURCE_HSE_BYPASS)
    TM_REG(RCC_CR) |= HSEBYP;
#endif
    TM_REG(RCC_CR) |= HSEON;
    if (!tm_reg_wait(RCC_CR, HSERDY, HSERDY)) {
        return false;
    }
    /* bit 22: from HSE. Q, which USB would use, must be at least 2; it is not used here. */
    TM_REG(RCC_PLLCFGR) = TM_PLL_M | TM_PLL_N << 6 | (TM_PLL_P / 2u - 1u) << 16 | 1u << 22 | 9u << 24;
    TM_REG(RCC_APB1ENR) |= 1u << 28; /* PWREN */
    (void)TM_REG(RCC_APB1ENR);
    /* VOS: scale 1, the reset value; may change only while the PLL is off */
#if defined(TM_CLOCK_STM32F4)
    TM_REG(PWR_CR) |= 1u << 14;
    TM_REG(RCC_CR) |= PLLON;
#else
    TM_REG(PWR_CR) |= 3u << 14;
    TM_REG(RCC_CR) |= PLLON;
    /* Over-drive, needed above 180 MHz: on, ready, switched, ready; while still on HSI. */
    TM_REG(PWR_CR) |= 1u << 16;
    if (!tm_reg_wait(PWR_CSR, 1u << 16, 1u << 16)) {
        return false;
    }
    TM_REG(PWR_CR) |= 1u << 17;
    if (!tm_reg_wait(PWR_CSR, 1u << 17, 1u << 17)) {
        return false;
    }
#endif
    return tm_reg_wait(RCC_CR, PLLRDY, PLLRDY) && tm_reg_wait(PWR_CSR, 1u << 14, 1u << 14); /* VOSRDY */
}

void tm_clock_init(void)
{
    tm_clock_core_hz = RESET_HZ;
    tm_clock_uart_hz = RESET_HZ;
    if (!start_pll()) {
        return;
    }
#if defined(TM_CLOCK_STM32F4)
    /* instruction and data cache; prefetch misbehaves on revision A only (DBGMCU_IDCODE.REV_ID 0x1000) */
    const uint32_t prefetch = (TM_REG(0xE0042000u) >> 16) == 0x1000u ? 0u : 1u << 8;
    TM_REG(FLASH_ACR) = TM_FLASH_WAIT_STATES | prefetch | 1u << 9 | 1u << 10;
#else
    /* ART and prefetch serve the ITCM interface only, and cost nothing on AXIM, where the code is */
    TM_REG(FLASH_ACR) = TM_FLASH_WAIT_STATES | 1u << 8 | 1u << 9;
#endif
    if (!tm_reg_wait(FLASH_ACR, 0xFu, TM_FLASH_WAIT_STATES)) {
        return;
    }
    TM_REG(RCC_CFGR) = apb_code(TM_APB1_DIV) << 10 | apb_code(TM_APB2_DIV) << 13;
    tm_clock_uart_hz = RESET_HZ / TM_UART_APB_DIV;
    tm_reg_modify(RCC_CFGR, 3u, 2u); /* SW: PLL */
    if (tm_reg_wait(RCC_CFGR, 3u << 2, 2u << 2)) {
        tm_clock_core_hz = TM_CLOCK_HZ;
        tm_clock_uart_hz = TM_CLOCK_HZ / TM_UART_APB_DIV;
    }
}

#endif

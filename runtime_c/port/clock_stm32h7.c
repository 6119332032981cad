/* clock_stm32h7.c: HSE and PLL1 of STM32H742/743. Not run on silicon.
 * Source: RM0433, chapters flash (wait states), PWR (supply configuration, voltage scaling), RCC; ES0392,
 * "Reading from AXI SRAM may lead to data read corruption", for revision Y.
 */
#include "tm_regs.h"

#if defined(TM_CLOCK_STM32H7)

#define RCC \
    0x58024400u /* CR +0, CFGR +10, D1CFGR +18, D2CFGR +1C, D3CFGR +20, PLLCKSELR +28, PLLCFGR +2C, PLL1DIVR +30 */
#define PWR 0x58024800u /* CSR1 +4, CR3 +C, D3CR +18 */
#define FLASH_ACR 0x52002000u
#define RESET_HZ 64000000u /* HSI */

_Static_assert(TM_AHB_DIV == 2u && TM_APB1_DIV == 2u && TM_APB2_DIV == 2u, "dividers are written out below");

static bool start_pll(void)
{
    /* Supply: internal LDO. May be written once after power-on; clocks must wait for it. */
    tm_reg_modify(PWR + 0xCu, 7u, 2u);                /* LDOEN, no SCUEN, no BYPASS */
    if (!tm_reg_wait(PWR + 4u, 1u << 13, 1u << 13)) { /* ACTVOSRDY */
        return false;
    }
    TM_REG(PWR + 0x18u) |= 3u << 14;                     /* VOS1 */
    if (!tm_reg_wait(PWR + 0x18u, 1u << 13, 1u << 13)) { /* VOSRDY */
        return false;
    }
#if defined(TM_CLOCK_SOURCE_HSE_BYPASS)
    TM_REG(RCC) |= 1u << 18;
#endif
    TM_REG(RCC) |= 1u << 16; /* HSEON */
    if (!tm_reg_wait(RCC, 1u << 17, 1u << 17)) {
        return false;
    }
    const uint32_t input_hz = TM_CLOCK_SOURCE_HZ / TM_PLL_M;
    const uint32_t range = input_hz >= 8000000u   ? 3u
                           : input_hz >= 4000000u ? 2u
                           : input_hz >= 2000000u ? 1u
                                                  : 0u;
    tm_reg_modify(RCC + 0x28u, 3u | 0x3Fu << 4, 2u | TM_PLL_M << 4); /* from HSE */
    /* wide VCO, no fraction, P on, Q and R of PLL1 off */
    tm_reg_modify(RCC + 0x2Cu, 0xFu | 7u << 16, range << 2 | 1u << 16);
    TM_REG(RCC + 0x30u) = (TM_PLL_N - 1u) | (TM_PLL_P - 1u) << 9 | 1u << 16 | 1u << 24;
    TM_REG(RCC) |= 1u << 24; /* PLL1ON */
    return tm_reg_wait(RCC, 1u << 25, 1u << 25);
}

void tm_clock_init(void)
{
    tm_clock_core_hz = RESET_HZ;
    tm_clock_uart_hz = RESET_HZ;
    if ((TM_REG(0x5C001000u) >> 16) < 0x2000u) { /* DBGMCU_IDC.REV_ID: before revision X */
        TM_REG(0x51008108u) = 1u;                /* AXI target 7: one read at a time */
    }
    if (!start_pll()) {
        return;
    }
    TM_REG(FLASH_ACR) = TM_FLASH_WAIT_STATES | 2u << 4; /* WRHIGHFREQ for 185 to 210 MHz of AXI */
    if (!tm_reg_wait(FLASH_ACR, 0xFu, TM_FLASH_WAIT_STATES)) {
        return;
    }
    TM_REG(RCC + 0x18u) = 8u | 4u << 4;      /* D1: core / 1, AXI and AHB / 2, APB3 / 2 */
    TM_REG(RCC + 0x1Cu) = 4u << 4 | 4u << 8; /* D2: APB1 / 2, APB2 / 2 */
    TM_REG(RCC + 0x20u) = 4u << 4;           /* D3: APB4 / 2 */
    tm_clock_uart_hz = RESET_HZ / TM_AHB_DIV / TM_UART_APB_DIV;
    tm_reg_modify(RCC + 0x10u, 7u, 3u); /* SW: PLL1 */
    if (tm_reg_wait(RCC + 0x10u, 7u << 3, 3u << 3)) {
        tm_clock_core_hz = TM_CLOCK_HZ;
        tm_clock_uart_hz = TM_CLOCK_HZ / TM_AHB_DIV / TM_UART_APB_DIV;
    }
}

#endif

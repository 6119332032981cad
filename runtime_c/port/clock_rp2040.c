/* clock_rp2040.c: resets, crystal, PLL and clock muxes of the RP2040. Not run on silicon.
 * Source: RP2040 datasheet, chapters resets, clocks, XOSC and PLL; compared with the Pico SDK's register headers.
 */
#include "tm_regs.h"

#if defined(TM_CLOCK_RP2040)

#define RESETS 0x4000C000u /* RESET +0, RESET_DONE +8 */
#define CLOCKS 0x40008000u
#define XOSC 0x40024000u
#define PLL_SYS 0x40028000u
#define SET 0x2000u /* address offsets that write 1 bits only */
#define CLEAR 0x3000u
#define RESET_HZ 6500000u /* ring oscillator, 1.8 to 12 MHz: no serial port without the crystal */

static bool release(uint32_t bits)
{
    TM_REG(RESETS + CLEAR) = bits;
    return tm_reg_wait(RESETS + 8u, bits, bits);
}

void tm_clock_init(void)
{
    tm_clock_core_hz = RESET_HZ;
    tm_clock_uart_hz = RESET_HZ;
    TM_REG(XOSC) = 0xAA0u;     /* 1 to 15 MHz */
    TM_REG(XOSC + 0xCu) = 47u; /* STARTUP: 1 ms in units of 256 periods at 12 MHz */
    TM_REG(XOSC + SET) = 0xFABu << 12;
    if (!tm_reg_wait(XOSC + 4u, 1u << 31, 1u << 31)) {
        return;
    }
    /* Both clocks onto their glitch-free reference before the PLL is touched (a soft reset may leave
     * the system on the PLL). */
    TM_REG(CLOCKS + 0x3Cu + CLEAR) = 1u;
    (void)tm_reg_wait(CLOCKS + 0x44u, 1u, 1u);
    tm_reg_modify(CLOCKS + 0x30u, 3u, 2u); /* CLK_REF: XOSC */
    if (!tm_reg_wait(CLOCKS + 0x38u, 4u, 4u)) {
        return;
    }
    tm_clock_core_hz = TM_CLOCK_SOURCE_HZ;
    tm_clock_uart_hz = TM_CLOCK_SOURCE_HZ;
    TM_REG(RESETS + SET) = 1u << 12;
    if (release(1u << 12)) { /* PLL_SYS */
        TM_REG(PLL_SYS) = TM_PLL_M;
        TM_REG(PLL_SYS + 8u) = TM_PLL_N;
        TM_REG(PLL_SYS + 4u + CLEAR) = 1u | 1u << 5; /* PD, VCOPD */
        if (tm_reg_wait(PLL_SYS, 1u << 31, 1u << 31)) {
            TM_REG(PLL_SYS + 0xCu) = TM_PLL_P << 16 | TM_PLL_P2 << 12;
            TM_REG(PLL_SYS + 4u + CLEAR) = 1u << 3; /* POSTDIVPD */
            TM_REG(CLOCKS + 0x3Cu) = 0;             /* auxiliary source: PLL_SYS */
            TM_REG(CLOCKS + 0x3Cu + SET) = 1u;
            if (tm_reg_wait(CLOCKS + 0x44u, 2u, 2u)) {
                tm_clock_core_hz = TM_CLOCK_HZ;
                tm_clock_uart_hz = TM_CLOCK_HZ;
            }
        }
    }
    TM_REG(CLOCKS + 0x48u) = 1u << 11;           /* CLK_PERI: from the system clock, on */
    (void)release(1u << 5 | 1u << 8 | 1u << 22); /* IO_BANK0, PADS_BANK0, UART0 */
}

#endif

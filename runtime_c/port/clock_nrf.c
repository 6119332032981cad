/* clock_nrf.c: crystal and instruction cache of nRF51 and nRF52840. The core clock is fixed; the crystal
 * only makes it exact, which the UART needs.
 * nRF52840 not run on silicon; nRF51 run in QEMU.
 * Source: nRF51 Series Reference Manual, CLOCK; nRF52840 register description (CLOCK, NVMC).
 */
#include "tm_regs.h"

#if defined(TM_CLOCK_NRF51) || defined(TM_CLOCK_NRF52)

void tm_clock_init(void)
{
    TM_REG(0x40000100u) = 0;                /* EVENTS_HFCLKSTARTED */
    TM_REG(0x40000000u) = 1u;               /* TASKS_HFCLKSTART */
    (void)tm_reg_wait(0x40000100u, 1u, 1u); /* without a crystal the RC oscillator goes on */
#if defined(TM_CLOCK_NRF52)
    TM_REG(0x4001E540u) = 1u; /* NVMC ICACHECNF: cache on */
#endif
    tm_clock_core_hz = TM_CLOCK_HZ;
    tm_clock_uart_hz = 16000000u;
}

#endif

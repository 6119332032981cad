/* clock.c: boards whose clock the program cannot change (FPGA images), and where the clocks of
 * every board are kept. */
#include "tm_regs.h"

/* Until tm_clock_init() has run: never read before it. */
uint32_t tm_clock_core_hz;
uint32_t tm_clock_uart_hz;

#if defined(TM_CLOCK_FIXED)

void tm_clock_init(void)
{
    tm_clock_core_hz = TM_CLOCK_HZ;
    tm_clock_uart_hz = TM_CLOCK_HZ;
}

#endif

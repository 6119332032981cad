/* uart_cmsdk.c: Arm CMSDK APB UART of the MPS2 and MPS3 boards.
 * Source: Cortex-M System Design Kit Technical Reference Manual (DDI 0479), "APB UART". */
#include "tm_regs.h"

#if defined(TM_UART_CMSDK)

enum { DATA = 0x0, STATE = 0x4, CTRL = 0x8, INTCLEAR = 0xC, BAUDDIV = 0x10 };
enum { TX_FULL = 1, RX_FULL = 2, RX_OVERRUN = 8 };

void tm_uart_init(void)
{
    const uint32_t divider = tm_clock_uart_hz / TM_UART_BAUD;
    TM_REG(TM_UART_BASE + BAUDDIV) = divider < 16u ? 16u : divider;
    TM_REG(TM_UART_BASE + CTRL) = 1u | 2u | 8u; /* TX, RX, RX interrupt */
}

bool tm_uart_rx_ready(void)
{
    return (TM_REG(TM_UART_BASE + STATE) & RX_FULL) != 0u;
}

uint8_t tm_uart_get(void)
{
    return (uint8_t)TM_REG(TM_UART_BASE + DATA);
}

bool tm_uart_tx_ready(void)
{
    return (TM_REG(TM_UART_BASE + STATE) & TX_FULL) == 0u;
}

void tm_uart_put(uint8_t byte)
{
    TM_REG(TM_UART_BASE + DATA) = byte;
}

bool tm_uart_tx_done(void)
{
    return tm_uart_tx_ready(); /* the shift register's state cannot be read */
}

void tm_uart_rx_ack(void)
{
    TM_REG(TM_UART_BASE + INTCLEAR) = 2u;
}

bool tm_uart_overrun(void)
{
    const bool overrun = (TM_REG(TM_UART_BASE + STATE) & RX_OVERRUN) != 0u;
    if (overrun) {
        TM_REG(TM_UART_BASE + STATE) = RX_OVERRUN;
    }
    return overrun;
}

#endif

/* uart_pl011.c: Arm PL011, as in the RP2040.
 * Source: PrimeCell UART (PL011) Technical Reference Manual (DDI 0183), registers; RP2040 datasheet, UART
 * and GPIO. */
#include "tm_regs.h"

#if defined(TM_UART_PL011)

enum {
    DR = 0x00,
    RSR = 0x04,
    FR = 0x18,
    IBRD = 0x24,
    FBRD = 0x28,
    LCR_H = 0x2C,
    CR = 0x30,
    IMSC = 0x38,
    ICR = 0x44
};

void tm_uart_init(void)
{
#if defined(TM_CLOCK_RP2040)
    /* IO_BANK0 GPIOn_CTRL.FUNCSEL; the pads' reset state has input and output on */
    TM_REG(0x40014004u + 8u * TM_UART_TX_PIN) = TM_UART_AF;
    TM_REG(0x40014004u + 8u * TM_UART_RX_PIN) = TM_UART_AF;
#endif
    /* baud = clock / (16 * divider), divider in 1/64: 4 * clock / baud, rounded */
    const uint32_t divider = (tm_clock_uart_hz * 8u / TM_UART_BAUD + 1u) / 2u;
    TM_REG(TM_UART_BASE + CR) = 0;
    TM_REG(TM_UART_BASE + IBRD) = divider >> 6;
    TM_REG(TM_UART_BASE + FBRD) = divider & 63u;
    TM_REG(TM_UART_BASE + LCR_H) = 3u << 5; /* 8 bits, FIFO off: an interrupt for every byte */
    TM_REG(TM_UART_BASE + IMSC) = 1u << 4;  /* RX */
    TM_REG(TM_UART_BASE + CR) = 0x301u;     /* RX, TX, on */
}

bool tm_uart_rx_ready(void)
{
    return (TM_REG(TM_UART_BASE + FR) & (1u << 4)) == 0u;
}

uint8_t tm_uart_get(void)
{
    return (uint8_t)TM_REG(TM_UART_BASE + DR);
}

bool tm_uart_tx_ready(void)
{
    return (TM_REG(TM_UART_BASE + FR) & (1u << 5)) == 0u;
}

void tm_uart_put(uint8_t byte)
{
    TM_REG(TM_UART_BASE + DR) = byte;
}

bool tm_uart_tx_done(void)
{
    return (TM_REG(TM_UART_BASE + FR) & (1u << 3)) == 0u; /* BUSY */
}

void tm_uart_rx_ack(void)
{
    TM_REG(TM_UART_BASE + ICR) = 1u << 4;
}

bool tm_uart_overrun(void)
{
    const bool overrun = (TM_REG(TM_UART_BASE + RSR) & 8u) != 0u;
    if (overrun) {
        TM_REG(TM_UART_BASE + RSR) = 8u;
    }
    return overrun;
}

#endif

/* uart_nrf.c: the UART of nRF51, which nRF52 keeps beside its UARTE. Six bytes of receive FIFO.
 * Source: nRF51 Series Reference Manual, UART; nRF52840 register description (UART0). */
#include "tm_regs.h"

#if defined(TM_UART_NRF)

enum {
    STARTRX = 0x000,
    STARTTX = 0x008,
    RXDRDY = 0x108,
    TXDRDY = 0x11C,
    INTENSET = 0x304,
    ERRORSRC = 0x480,
    ENABLE = 0x500,
    PSELRTS = 0x508,
    PSELTXD = 0x50C,
    PSELCTS = 0x510,
    PSELRXD = 0x514,
    RXD = 0x518,
    TXD = 0x51C,
    BAUDRATE = 0x524
};

static bool sending; /* a byte is under way; TXDRDY is only set by the end of one */

static uintptr_t gpio(uint32_t port)
{
    return 0x50000000u + 0x300u * port;
}

void tm_uart_init(void)
{
    /* TXD idles high before it becomes an output; RXD is an input with its buffer connected */
    TM_REG(gpio(TM_UART_TX_PORT) + 0x508u) = 1u << TM_UART_TX_PIN;
    TM_REG(gpio(TM_UART_TX_PORT) + 0x518u) = 1u << TM_UART_TX_PIN;
    TM_REG(gpio(TM_UART_RX_PORT) + 0x700u + 4u * TM_UART_RX_PIN) = 3u << 2; /* input, pull-up */
    TM_REG(TM_UART_BASE + PSELRTS) = 0xFFFFFFFFu;
    TM_REG(TM_UART_BASE + PSELCTS) = 0xFFFFFFFFu;
    TM_REG(TM_UART_BASE + PSELTXD) = 32u * TM_UART_TX_PORT + TM_UART_TX_PIN;
    TM_REG(TM_UART_BASE + PSELRXD) = 32u * TM_UART_RX_PORT + TM_UART_RX_PIN;
    /* baud * 2^32 / 16 MHz, rounded to the 20 bits that count: 0x01D7E000 for 115,200 */
    TM_REG(TM_UART_BASE + BAUDRATE) =
        ((uint32_t)(((uint64_t)TM_UART_BAUD << 32) / 16000000u) + 0x800u) & 0xFFFFF000u;
    TM_REG(TM_UART_BASE + ENABLE) = 4u;
    TM_REG(TM_UART_BASE + INTENSET) = 1u << 2; /* RXDRDY */
    TM_REG(TM_UART_BASE + STARTTX) = 1u;
    TM_REG(TM_UART_BASE + STARTRX) = 1u;
}

bool tm_uart_rx_ready(void)
{
    return TM_REG(TM_UART_BASE + RXDRDY) != 0u;
}

uint8_t tm_uart_get(void)
{
    /* Clear the event first: reading RXD moves the FIFO on and may set it again. */
    TM_REG(TM_UART_BASE + RXDRDY) = 0;
    return (uint8_t)TM_REG(TM_UART_BASE + RXD);
}

bool tm_uart_tx_ready(void)
{
    if (sending && TM_REG(TM_UART_BASE + TXDRDY) != 0u) {
        TM_REG(TM_UART_BASE + TXDRDY) = 0;
        sending = false;
    }
    return !sending;
}

void tm_uart_put(uint8_t byte)
{
    sending = true;
    TM_REG(TM_UART_BASE + TXD) = byte;
}

bool tm_uart_tx_done(void)
{
    return tm_uart_tx_ready();
}

void tm_uart_rx_ack(void)
{
    /* clearing RXDRDY in tm_uart_get() acknowledges */
}

bool tm_uart_overrun(void)
{
    const bool overrun = (TM_REG(TM_UART_BASE + ERRORSRC) & 1u) != 0u;
    if (overrun) {
        TM_REG(TM_UART_BASE + ERRORSRC) = 1u;
    }
    return overrun;
}

#endif

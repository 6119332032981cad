/* main.c: firmware that runs one model for a host on the other end of a serial port. */
#include "app_model.h" /* generated: APP_MODEL, APP_ARENA_BYTES */

#include "tm_link.h"
#include "tm_port.h"

/* The one large buffer. Inputs, inner tensors and outputs all live in it. */
static _Alignas(8) uint8_t arena[APP_ARENA_BYTES];

int main(void)
{
    tm_port_init();
    tm_link_init(&APP_MODEL, arena);
    for (;;) {
        tm_link_poll();
        tm_port_idle();
    }
}

/* main.c: firmware that runs one model for a host on the other end of a serial port. */
#include "app_model.h" /* generated: APP_MODEL, APP_ARENA_BYTES, perhaps APP_ROW_BYTES */

#include <stddef.h>

#include "tm_link.h"
#include "tm_port.h"

/* The one large buffer. Inputs, inner tensors and outputs all live in it. */
static _Alignas(8) uint8_t arena[APP_ARENA_BYTES];

/* One row of an input that is never in memory as a whole: the link gathers its bytes here. */
#ifdef APP_ROW_BYTES
static _Alignas(8) uint8_t row[APP_ROW_BYTES];
#else
static void *const row = NULL;
#endif

int main(void)
{
    tm_port_init();
    tm_link_init(&APP_MODEL, arena, row);
    for (;;) {
        tm_link_poll();
        tm_port_idle();
    }
}

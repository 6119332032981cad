/* tm_link.h: the board's end of the serial link. The bytes are specified in docs/protocol.md.
 *
 * One model, one link, all memory static. The program calls tm_link_init() once and then
 * tm_link_poll() for ever. Nothing here waits for a byte: half a frame stays in the receive buffer
 * until its end or the start of the next frame arrives. tm_link.c also defines tm_fault_report()
 * (tm_port.h), which sends a FAULT frame and keeps the fault over the restart, and the hooks
 * tm_trace_begin() and tm_trace_end() (tm_model.h) where the build has TM_TRACE.
 */
#ifndef TM_LINK_H
#define TM_LINK_H

#include <stdint.h>

#include "tm_model.h"

enum {
    TM_LINK_VERSION = 2,
    TM_LINK_PACKET_MIN = 33,  /* bytes on the wire that every board takes */
    TM_LINK_PACKET_MAX = 256, /* bytes on the wire, both delimiters included */
    TM_LINK_NO_LAYER = 0xFFFF,
    TM_LINK_NO_INPUT = 0xFFFF
};

/* Starts the link and sends READY. `arena` has model->arena_bytes bytes, `row` those of one row of the
 * input that is pushed row by row; both aligned to 8. A model without such an input needs no `row`:
 * NULL. */
void tm_link_init(const tm_model *model, void *arena, void *row);

/* Handles all bytes received so far, then returns. */
void tm_link_poll(void);

#endif

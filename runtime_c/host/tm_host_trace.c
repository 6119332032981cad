/* tm_host_trace.c: the hooks around layers for a model that is loaded into another program.
 *
 * The program sets both hooks; null (the initial state) means that nobody listens. They are per
 * thread, so that several models can run at once.
 */
#include <stddef.h>
#include <stdint.h>

#include "tm_model.h"

typedef void (*tm_host_hook)(uint16_t layer);

void tm_host_set_hooks(tm_host_hook begin, tm_host_hook end);

static _Thread_local tm_host_hook begin_hook;
static _Thread_local tm_host_hook end_hook;

void tm_host_set_hooks(tm_host_hook begin, tm_host_hook end)
{
    begin_hook = begin;
    end_hook = end;
}

void tm_trace_begin(uint16_t layer)
{
    if (begin_hook != NULL) {
        begin_hook(layer);
    }
}

void tm_trace_end(uint16_t layer)
{
    if (end_hook != NULL) {
        end_hook(layer);
    }
}

/* app_model.h: a model written by hand, small enough to know every byte of it. */
#ifndef APP_MODEL_H
#define APP_MODEL_H

#include "tm_model.h"

#define APP_MODEL toy_model
#define APP_ARENA_BYTES 656

extern const tm_model toy_model;

#endif

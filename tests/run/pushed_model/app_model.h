/* app_model.h: a model written by hand whose image is pushed row by row. */
#ifndef APP_MODEL_H
#define APP_MODEL_H

#include "tm_model.h"

#define APP_MODEL pushed_model
#define APP_ARENA_BYTES 400
#define APP_ROW_BYTES 50

extern const tm_model pushed_model;

#endif

/* Internal: one number of a JSON text to msgpack. */
#ifndef PODWITNESS_JSON_NUMBER_H
#define PODWITNESS_JSON_NUMBER_H

#include <stdint.h>

/* Writes at *out (at most 9 bytes) and moves it. Returns the byte behind the number;
 * NULL when there is none at `start`, when it is too large for a float64, or when the
 * text ends with it, which no object does. */
const uint8_t *pw_json_number(const uint8_t *start, const uint8_t *end, uint8_t **out);

#endif

/* Internal: strings of JSON with escapes. */
#ifndef PODWITNESS_JSON_ESCAPE_H
#define PODWITNESS_JSON_ESCAPE_H

#include <stddef.h>
#include <stdint.h>

/* `at` is behind the backslash. Writes what is meant as UTF-8 and moves *out; returns the
 * byte behind the escape, NULL when it is none. */
const uint8_t *pw_json_escape(const uint8_t *at, const uint8_t *end, uint8_t **out);

/* What Fluent Bit's Merge_Log_Trim leaves of a string: newlines at the end go, and
 * so do the two characters `\n` or `\r`; a newline that comes first stays
 * (value_trim_size() in plugins/filter_kubernetes/kubernetes.c). */
size_t pw_json_trimmed(const uint8_t *body, size_t bytes);

#endif

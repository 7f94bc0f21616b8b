/* For processors without vectors that we know; eight bytes at a time. */
#define JSON_OBJECT pw_json_object_plain
#include "json_parse.h"

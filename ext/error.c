#include "error.h"

#include <stddef.h>

const char *pw_error_text(int error)
{
#define PW_ERROR_CASE(name, value, text) case value: return text;
  switch (error) { PW_ERRORS(PW_ERROR_CASE) }
#undef PW_ERROR_CASE
  return "an error that this build does not know";
}

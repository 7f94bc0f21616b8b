#include "openssl.h"

#include <dlfcn.h>
#include <string.h>

struct pw_openssl pw_openssl;

static bool find(void *library, const char *name, void *function)
{
  void *found = dlsym(library, name);
  memcpy(function, &found, sizeof found);
  return found != NULL;
}

bool pw_openssl_find(const char *path)
{
  /* The handle stays: closing it would let go of a library whose functions are called. */
  void *library = dlopen(path, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD);
  if (!library)
    return false;
#define PW_FIND(name, returned, taken) &&find(library, #name, &pw_openssl.name)
  return true PW_OPENSSL(PW_FIND);
#undef PW_FIND
}

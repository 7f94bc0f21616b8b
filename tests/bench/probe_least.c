/* The least that can be executed: it needs no more than its own page, so that what the probes add is seen. */
#include <unistd.h>

void _start(void)
{
  _exit(0);
}

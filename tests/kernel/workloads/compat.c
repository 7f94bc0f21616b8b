/* Calls by int 0x80, as a 32-bit program does. Exits with the number of calls that did not return what they should. */
#include <errno.h>

static long call_32(long number, long first, long second)
{
  long result;
  __asm__ volatile("int $0x80"
                   : "=a"(result)
                   : "a"(number), "b"(first), "c"(second)
                   : "memory", "r8", "r9", "r10", "r11");
  return (int)result;
}

int main(void)
{
  enum { UNSHARE = 310, SETUID32 = 213, READ = 3 };
  int wrong = call_32(UNSHARE, 0x04000000, 0) != 0;  /* CLONE_NEWUTS */
  wrong += call_32(READ, 1000, 0) >= 0;              /* on x86_64 number 3 is close(2) */
  wrong += call_32(SETUID32, 4242, 0) != 0;
  return wrong;
}

/* Uses CPU time: burn USER_MS THREADS. Half of the threads end before the leader, the others with it. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

static long wanted_ms;

static void *burn(void *unused)
{
  struct timespec used;
  (void)unused;
  do
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  while (used.tv_sec * 1000 + used.tv_nsec / 1000000 < wanted_ms);
  return 0;
}

int main(int argc, char **argv)
{
  pthread_t threads[64];
  int count = argc > 2 ? atoi(argv[2]) : 0;
  wanted_ms = argc > 1 ? atol(argv[1]) : 0;
  for (int i = 0; i < count; i++)
    pthread_create(&threads[i], 0, burn, 0);
  for (int i = 0; i < count / 2; i++)
    pthread_join(threads[i], 0);
  burn(0);
  return 0;
}

/* What a process with threads does at its start and end.
 *   threads exec PATH      a thread that is not the leader executes PATH
 *   threads leader-first   the leader's thread ends with 7, the last thread a moment after it with 9
 *   threads fork PATH      the same, but the last thread forks first, and the child executes PATH
 *   threads group          a thread ends the group with 11
 *   threads burst COUNT    COUNT threads end at once with the leader */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t leader;
static atomic_int go;

static void *execute(void *path)
{
  char *argv[] = {path, "by-a-thread", "3", 0};
  execv(path, argv);
  perror("execv");
  _exit(98);
}

static void execute_in_child(char *path)
{
  char *argv[] = {path, "of-a-thread", "3", 0};
  pid_t child = fork();
  if (!child) {
    execv(path, argv);
    _exit(98);
  }
  waitpid(child, 0, 0);
}

static void *outlive_leader(void *executed)
{
  char path[64], state;
  snprintf(path, sizeof(path), "/proc/self/task/%d/stat", leader);
  do { /* until the leader is a zombie: nothing in the kernel lets a thread wait for that */
    FILE *stat = fopen(path, "r");
    if (!stat || fscanf(stat, "%*d %*s %c", &state) != 1)
      _exit(98);
    fclose(stat);
  } while (state != 'Z');
  if (executed)
    execute_in_child(executed);
  syscall(SYS_exit, 9);
  return 0;
}

static void *end_group(void *unused)
{
  (void)unused;
  exit(11);
}

static void *end_at_once(void *unused)
{
  (void)unused;
  while (!atomic_load(&go))
    ;
  syscall(SYS_exit, 0);
  return 0;
}

static void start(void *(*run)(void *), void *argument)
{
  pthread_t thread;
  if (pthread_create(&thread, 0, run, argument)) {
    perror("pthread_create");
    _exit(98);
  }
}

int main(int argc, char **argv)
{
  if (argc < 2)
    return 97;
  leader = getpid();
  if (!strcmp(argv[1], "exec")) {
    start(execute, argv[2]);
    pause();
  } else if (!strcmp(argv[1], "leader-first")) {
    start(outlive_leader, 0);
    syscall(SYS_exit, 7);
  } else if (!strcmp(argv[1], "fork")) {
    start(outlive_leader, argv[2]);
    syscall(SYS_exit, 7);
  } else if (!strcmp(argv[1], "group")) {
    start(end_group, 0);
    pause();
  } else if (!strcmp(argv[1], "burst")) {
    for (int i = 0; i < atoi(argv[2]); i++)
      start(end_at_once, 0);
    atomic_store(&go, 1);
    syscall(SYS_exit, 0);
  }
  return 97;
}

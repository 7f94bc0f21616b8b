/* What the probes slow down, so often that the cost can be measured:
 *   probe_workload exec COUNT PATH    fork, exec and exit of PATH
 *   probe_workload tcp COUNT          a connection to itself on loopback, 64 bytes each way
 *   probe_workload io COUNT           64 bytes each way on one connection
 *   probe_workload udp COUNT          64 bytes each way between two UDP sockets
 * Prints CPU and elapsed microseconds for one. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double seconds(struct timeval time)
{
  return time.tv_sec + time.tv_usec * 1e-6;
}

static double cpu_s(void)
{
  struct rusage own, children;
  getrusage(RUSAGE_SELF, &own);
  getrusage(RUSAGE_CHILDREN, &children);
  return seconds(own.ru_utime) + seconds(own.ru_stime) + seconds(children.ru_utime) + seconds(children.ru_stime);
}

static double elapsed_s(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec * 1e-9;
}

static void need(int result, const char *call)
{
  if (result < 0) {
    perror(call);
    exit(1);
  }
}

static void execute(char *path)
{
  char *argv[] = {path, 0};
  pid_t child;
  if (posix_spawn(&child, path, 0, 0, argv, environ))
    need(-1, "posix_spawn");
  need(waitpid(child, 0, 0), "waitpid");
}

static int listener(struct sockaddr_in *address)
{
  socklen_t length = sizeof(*address);
  int made = socket(AF_INET, SOCK_STREAM, 0);
  memset(address, 0, sizeof(*address));
  address->sin_family = AF_INET;
  address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  need(bind(made, (struct sockaddr *)address, sizeof(*address)), "bind");
  need(listen(made, 64), "listen");
  getsockname(made, (struct sockaddr *)address, &length);
  return made;
}

static void exchange(int client, int server)
{
  char bytes[64] = {0};
  need(send(client, bytes, sizeof(bytes), 0), "send");
  need(recv(server, bytes, sizeof(bytes), 0), "recv");
  need(send(server, bytes, sizeof(bytes), 0), "send");
  need(recv(client, bytes, sizeof(bytes), 0), "recv");
}

/* The server resets: no port is left in TIME_WAIT, so that any number of connections can follow. */
static void converse(int listening, struct sockaddr_in *address, int exchanges)
{
  struct linger reset = {1, 0};
  int server, client = socket(AF_INET, SOCK_STREAM, 0);
  need(connect(client, (struct sockaddr *)address, sizeof(*address)), "connect");
  server = accept(listening, 0, 0);
  need(server, "accept");
  while (exchanges-- > 0)
    exchange(client, server);
  setsockopt(server, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  close(server);
  close(client);
}

/* Both connected to each other. */
static void converse_by_udp(int exchanges)
{
  struct sockaddr_in address;
  socklen_t length = sizeof(address);
  int client = socket(AF_INET, SOCK_DGRAM, 0), server = socket(AF_INET, SOCK_DGRAM, 0);
  memset(&address, 0, sizeof(address));
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  need(bind(server, (struct sockaddr *)&address, sizeof(address)), "bind");
  getsockname(server, (struct sockaddr *)&address, &length);
  need(connect(client, (struct sockaddr *)&address, sizeof(address)), "connect");
  getsockname(client, (struct sockaddr *)&address, &length);
  need(connect(server, (struct sockaddr *)&address, sizeof(address)), "connect");
  while (exchanges-- > 0)
    exchange(client, server);
  close(server);
  close(client);
}

int main(int argc, char **argv)
{
  int count = argc > 2 ? atoi(argv[2]) : 0;
  struct sockaddr_in address;
  int listening = listener(&address);
  double cpu = cpu_s(), elapsed = elapsed_s();
  if (count > 0 && !strcmp(argv[1], "io"))
    converse(listening, &address, count);
  else if (count > 0 && !strcmp(argv[1], "udp"))
    converse_by_udp(count);
  for (int i = 0; i < count; i++) {
    if (!strcmp(argv[1], "exec"))
      execute(argv[3]);
    else if (!strcmp(argv[1], "tcp"))
      converse(listening, &address, 1);
  }
  cpu = cpu_s() - cpu;
  elapsed = elapsed_s() - elapsed;
  printf("%.4f %.4f\n", cpu / count * 1e6, elapsed / count * 1e6);
  return 0;
}

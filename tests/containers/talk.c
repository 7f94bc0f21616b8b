/* talk COUNT: so many datagrams each way between two sockets of its own; at SIGUSR1 one more each way and a TCP
 * connection, then it ends. Each datagram has 64 bytes. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void need(int result, const char *call)
{
  if (result < 0) {
    perror(call);
    exit(1);
  }
}

static int bound(int type, struct sockaddr_in *address)
{
  socklen_t bytes = sizeof *address;
  const int made = socket(AF_INET, type, 0);
  need(made, "socket");
  *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  need(bind(made, (struct sockaddr *)address, sizeof *address), "bind");
  need(getsockname(made, (struct sockaddr *)address, &bytes), "getsockname");
  return made;
}

static void send_to(int from, const struct sockaddr_in *to)
{
  const char bytes[64] = {0};
  need(sendto(from, bytes, sizeof bytes, 0, (const struct sockaddr *)to, sizeof *to), "sendto");
}

static void receive(int at, struct sockaddr_in *from)
{
  char bytes[64];
  socklen_t address_bytes = sizeof *from;
  need(recvfrom(at, bytes, sizeof bytes, 0, (struct sockaddr *)from, &address_bytes), "recvfrom");
}

static void exchange(int client, int server, const struct sockaddr_in *at_server)
{
  struct sockaddr_in asker;
  send_to(client, at_server);
  receive(server, &asker);
  send_to(server, &asker);
  receive(client, &asker);
}

static void connect_once(void)
{
  struct sockaddr_in address;
  const int listener = bound(SOCK_STREAM, &address), client = socket(AF_INET, SOCK_STREAM, 0);
  need(listen(listener, 1), "listen");
  need(connect(client, (struct sockaddr *)&address, sizeof address), "connect");
  need(accept(listener, NULL, NULL), "accept");
}

int main(int argc, char **argv)
{
  struct sockaddr_in at_server, at_client;
  int signal_number;
  sigset_t awaited;
  sigemptyset(&awaited);
  sigaddset(&awaited, SIGUSR1);
  sigprocmask(SIG_BLOCK, &awaited, NULL);
  const int server = bound(SOCK_DGRAM, &at_server), client = bound(SOCK_DGRAM, &at_client);
  for (int count = argc > 1 ? atoi(argv[1]) : 0; count > 0; count--)
    exchange(client, server, &at_server);
  need(-sigwait(&awaited, &signal_number), "sigwait");
  exchange(client, server, &at_server);
  connect_once();
  return 0;
}

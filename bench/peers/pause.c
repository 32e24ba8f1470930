/* A pause in C to compare with: upstream's messages, flags, exit codes, SIGCHLD handler and build flags
   (-Os -static, stripped), in new code. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void shut_down(int signal) {
  psignal(signal, "Shutting down, got signal");
  exit(0);
}

static void reap(int signal) {
  (void)signal;
  while (waitpid(-1, NULL, WNOHANG) > 0) {
  }
}

int main(int count, char **arguments) {
  for (int at = 1; at < count; at++) {
    if (strcasecmp(arguments[at], "-v") == 0) {
      printf("pause in C\n");
      return 0;
    }
  }
  if (getpid() != 1)
    fprintf(stderr, "Warning: pause should be the first process\n");
  if (sigaction(SIGINT, &(struct sigaction){.sa_handler = shut_down}, NULL) < 0)
    return 1;
  if (sigaction(SIGTERM, &(struct sigaction){.sa_handler = shut_down}, NULL) < 0)
    return 2;
  if (sigaction(SIGCHLD, &(struct sigaction){.sa_handler = reap, .sa_flags = SA_NOCLDSTOP}, NULL) < 0)
    return 3;
  for (;;)
    pause();
}

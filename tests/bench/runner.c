/*
 * Runs commands for the benchmark and takes their times. It is a program of its own because a spawn out of Bun costs
 * several times what is to be measured.
 *
 * `runner DIRECTORY` works in DIRECTORY. Each request on stdin is one turn: a line of numbers
 *     RUNS WIDTH NICE IGNORES_SIGPIPE FILES_MAX ARGC ENVC BYTES
 * and BYTES bytes of argv and environment, each string ended by a NUL. The command is run RUNS times, WIDTH at a time, with all standard
 * descriptors at /dev/null; NICE, IGNORES_SIGPIPE and FILES_MAX (0: as they are) are set in the child before its exec.
 * The answer is one line: the time of the whole turn in ns, the last wait status that was not 0 (else 0), and for WIDTH
 * 1 the time of each run in ns, from before the spawn to after the wait.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What a login gives; Bun, which starts us, has raised it. */
enum { FILES_USUAL = 1024 };

/* Whoever asked has time to fall asleep before a turn begins. */
static const struct timespec pauseBefore = {.tv_nsec = 2000000};

struct turn {
  int runs, width, nice, ignoresPipe, filesMax, argc, envc, bytes;
  char **argv, **env;
};

static FILE *complaints;

static void require(int isWell, const char *what) {
  if (isWell) return;
  fprintf(complaints, "runner: %s: %s\n", what, strerror(errno));
  exit(1);
}

static long long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static pid_t start(const struct turn *turn) {
  pid_t pid;
  if (!turn->nice && !turn->ignoresPipe && !turn->filesMax) {
    errno = posix_spawn(&pid, turn->argv[0], NULL, NULL, turn->argv, turn->env);
    require(errno == 0, turn->argv[0]);
    return pid;
  }
  struct rlimit files = {(rlim_t)turn->filesMax, (rlim_t)turn->filesMax};
  pid = vfork(); /* as posix_spawn does, with a word of ours before the exec */
  require(pid >= 0, "vfork");
  if (pid > 0) return pid;
  if (turn->nice) setpriority(PRIO_PROCESS, 0, turn->nice);
  if (turn->ignoresPipe) signal(SIGPIPE, SIG_IGN);
  if (turn->filesMax) setrlimit(RLIMIT_NOFILE, &files);
  execve(turn->argv[0], turn->argv, turn->env);
  _exit(127);
}

static int waitForOne(void) {
  int status;
  require(wait(&status) > 0, "wait");
  return status;
}

static void runTurn(const struct turn *turn, FILE *answers) {
  long long *times = calloc((size_t)turn->runs, sizeof *times);
  int failure = 0;
  require(times != NULL, "calloc");
  nanosleep(&pauseBefore, NULL);
  long long beginTurn = now();
  for (int started = 0, ended = 0; ended < turn->runs; ended++) {
    long long begin = now();
    while (started < turn->runs && started < ended + turn->width) {
      start(turn);
      started++;
    }
    int status = waitForOne();
    times[ended] = now() - begin;
    if (status != 0) failure = status;
  }
  fprintf(answers, "%lld %d", now() - beginTurn, failure);
  for (int run = 0; turn->width == 1 && run < turn->runs; run++) fprintf(answers, " %lld", times[run]);
  fputc('\n', answers);
  fflush(answers);
  free(times);
}

static char **pointersInto(char **bytes, int count) {
  char **list = calloc((size_t)count + 1, sizeof *list);
  require(list != NULL, "calloc");
  for (int index = 0; index < count; index++) {
    list[index] = *bytes;
    *bytes += strlen(*bytes) + 1;
  }
  return list;
}

/* Our own pipes must not be the children's. */
static FILE *moveAway(int fd, const char *mode) {
  return fdopen(fcntl(fd, F_DUPFD_CLOEXEC, 3), mode);
}

int main(int argc, char **argv) {
  complaints = moveAway(2, "w");
  if (!complaints) return 1;
  require(argc == 2 && chdir(argv[1]) == 0, "chdir");
  FILE *requests = moveAway(0, "r"), *answers = moveAway(1, "w");
  require(requests && answers, "fdopen");
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int number = 0; number < 3; number++) require(dup2(null, number) == number, "dup2");
  for (int number = 1; number <= 64; number++) signal(number, SIG_DFL); /* Bun ignores some */
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  if (files.rlim_cur > FILES_USUAL) files.rlim_cur = FILES_USUAL;
  setrlimit(RLIMIT_NOFILE, &files);

  struct turn turn;
  while (fscanf(requests, "%d %d %d %d %d %d %d %d", &turn.runs, &turn.width, &turn.nice, &turn.ignoresPipe,
                &turn.filesMax, &turn.argc, &turn.envc, &turn.bytes) == 8) {
    char *bytes = malloc((size_t)turn.bytes), *next = bytes;
    require(bytes != NULL && fgetc(requests) == '\n', "request");
    require(fread(bytes, 1, (size_t)turn.bytes, requests) == (size_t)turn.bytes, "request");
    turn.argv = pointersInto(&next, turn.argc);
    turn.env = pointersInto(&next, turn.envc);
    runTurn(&turn, answers);
    free(turn.argv);
    free(turn.env);
    free(bytes);
  }
}

// What a process hands on through exec besides arguments, environment, directory and descriptors: as the message has it. The client sends
// its own; a starter compares those of a job with its own, and takes on what differs (take_on.c).

// A number in a file of /proc, in decimal or hexadecimal; `unknown` when it cannot be read.
static long number_in(const char *path, int base, long unknown) {
  long fd = pf_call3(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC), size, n = 0;
  char *at, text[32];
  if (fd < 0) return unknown;
  size = pf_call3(SYS_read, fd, (long)text, sizeof text - 1);
  pf_call1(SYS_close, fd);
  if (size <= 0) return unknown;
  text[size] = 0;
  at = text;
  if (*text == '-') at++;
  for (; *at > ' '; at++) n = n * base + (*at <= '9' ? *at - '0' : *at - 'a' + 10);
  return *text == '-' ? -n : n;
}

// The places of the fields among the 32-bit numbers of the message; what follows the limits has these distances from their end.
enum {
  AT_UMASK, AT_NICE, AT_IGNORED, AT_BLOCKED = 4, AT_LIMITS = 7, LIMIT_NUMBERS = RESOURCE_LIMIT_COUNT * 4, AT_OOM = AT_LIMITS + LIMIT_NUMBERS,
  AT_FILTER, AT_PERSONALITY, AT_NO_NEW_PRIVILEGES, AT_IO, AT_SLACK, AT_SCHEDULING = AT_SLACK + 2, SCHEDULING_SIZE = 48, AFFINITY_SIZE = 1024,
  ATTRIBUTES_MAX = AT_SCHEDULING + 1 + SCHEDULING_SIZE / 4 + 1 + AFFINITY_SIZE / 4,
};

// A number that has a "not known", for one that the kernel did not tell.
static u32 known(long result) { return result < 0 ? ~0u : (u32)result; }

// Writes the attributes of this process. Returns how many numbers there are, 0 when one cannot be read that has no "not known".
static int own_attributes(u32 *f) {
  int i, at;
  long size;
  u64 ignored = 0, slack, action[4];
  f[AT_UMASK] = (u32)pf_call1(SYS_umask, 077);
  pf_call1(SYS_umask, f[AT_UMASK]);
  long nice = pf_call2(SYS_getpriority, 0, 0); // the kernel answers 20 - nice
  if (nice <= 0) return 0;
  f[AT_NICE] = 40 - (u32)nice;
  for (i = 1; i <= SIGNAL_MAX; i++) {
    if (i == SIGKILL || i == SIGSTOP) continue;
    if (pf_call4(SYS_rt_sigaction, i, 0, (long)action, 8)) return 0;
    if (action[0] == SIG_IGN) ignored |= 1ul << (i - 1);
  }
  memcpy(f + AT_IGNORED, &ignored, 8);
  if (pf_call4(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)(f + AT_BLOCKED), 8)) return 0;
  f[AT_LIMITS - 1] = LIMIT_NUMBERS * 4;
  for (i = 0; i < RESOURCE_LIMIT_COUNT; i++) if (pf_call4(SYS_prlimit64, 0, i, 0, (long)(f + AT_LIMITS + i * 4))) return 0;
  f[AT_OOM] = (u32)number_in("/proc/self/oom_score_adj", 10, -1001) + 1000;
  f[AT_FILTER] = (u32)number_in("/proc/self/coredump_filter", 16, -1);
  f[AT_PERSONALITY] = known(pf_call1(SYS_personality, 0xffffffff));
  f[AT_NO_NEW_PRIVILEGES] = pf_call5(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
  f[AT_IO] = known(pf_call2(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0));
  slack = (u64)pf_call1(SYS_prctl, PR_GET_TIMERSLACK);
  if ((long)slack < 0) slack = 0;
  memcpy(f + AT_SLACK, &slack, 8);
  at = AT_SCHEDULING + 1;
  f[AT_SCHEDULING] = pf_call4(SYS_sched_getattr, 0, (long)(f + at), SCHEDULING_SIZE, 0) ? 0 : SCHEDULING_SIZE;
  at += (int)f[AT_SCHEDULING] / 4;
  size = pf_call3(SYS_sched_getaffinity, 0, AFFINITY_SIZE, (long)(f + at + 1));
  f[at] = size > 0 ? (u32)size : 0;
  return at + 1 + (int)f[at] / 4;
}

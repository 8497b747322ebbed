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

// A number in the text of /proc/self/status, octal or hexadecimal, behind `name`. Returns 0 when it is not there.
static int field_of(const char *status, const char *name, int base, u64 *number) {
  u64 size = length(name), i;
  for (; *status; status++) {
    for (i = 0; i < size && status[i] == name[i]; i++);
    if (i < size) continue;
    for (*number = 0, status += size; *status > ' '; status++) *number = *number * (u64)base + (u64)(*status <= '9' ? *status - '0' : *status - 'a' + 10);
    return 1;
  }
  return 0;
}

// A number that has a "not known", for one that the kernel did not tell.
static u32 known(long result) { return result < 0 ? ~0u : (u32)result; }

// Writes the attributes of this process. Returns how many numbers there are, 0 when one cannot be read that has no "not known".
static int own_attributes(u32 *f) {
  int i, at;
  long size, fd = pf_call3(SYS_openat, AT_FDCWD, (long)"/proc/self/status", O_RDONLY | O_CLOEXEC);
  u64 umask, slack, privileges, signals[2];
  char status[4096];
  // One file for what would be some seventy system calls: each signal has one of its own.
  size = pf_call3(SYS_read, fd, (long)status, sizeof status - 1);
  if (fd >= 0) pf_call1(SYS_close, fd);
  if (size <= 0) return 0;
  status[size] = 0;
  if (!field_of(status, "\nUmask:\t", 8, &umask) || !field_of(status, "\nNoNewPrivs:\t", 8, &privileges) ||
      !field_of(status, "\nSigBlk:\t", 16, signals + 1) || !field_of(status, "\nSigIgn:\t", 16, signals)) return 0;
  f[AT_UMASK] = (u32)umask;
  long nice = pf_call2(SYS_getpriority, 0, 0); // the kernel answers 20 - nice
  if (nice <= 0) return 0;
  f[AT_NICE] = 40 - (u32)nice;
  memcpy(f + AT_IGNORED, signals, sizeof signals); // and those that are blocked, behind them
  f[AT_LIMITS - 1] = LIMIT_NUMBERS * 4;
  for (i = 0; i < RESOURCE_LIMIT_COUNT; i++) if (pf_call4(SYS_prlimit64, 0, i, 0, (long)(f + AT_LIMITS + i * 4))) return 0;
  f[AT_OOM] = (u32)number_in("/proc/self/oom_score_adj", 10, -1001) + 1000;
  f[AT_FILTER] = (u32)number_in("/proc/self/coredump_filter", 16, -1);
  f[AT_PERSONALITY] = known(pf_call1(SYS_personality, 0xffffffff));
  f[AT_NO_NEW_PRIVILEGES] = (u32)privileges;
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

// Taking on a context, in the child that becomes the job: the mirror image of context.c and attributes.c.

// What a starter and its child share (the daemon reads the first number when a starter is gone without a word).
struct report { volatile u32 child, isFailed, stage, error; };

// A job as it came.
struct job {
  const u32 *attributes, *own; // the caller's, and those of the starter
  u32 flags, directory, count;
  const u32 *descriptors; // pairs: the number in the job, the index in `fds`
  const int *fds;
  struct strings argv, env;
  const char **pointers; // room for one to each string, and three more
};

static void write_number(const char *path, long number) {
  long fd = pf_call3(SYS_openat, AT_FDCWD, (long)path, O_WRONLY | O_CLOEXEC);
  struct text t;
  char text[16];
  if (fd < 0) return;
  text_begin(&t, text, sizeof text);
  if (number < 0) put(&t, "-");
  put_number(&t, (u64)(number < 0 ? -number : number));
  pf_call3(SYS_write, fd, (long)text, t.at - text);
  pf_call1(SYS_close, fd);
}

// One limit. What the kernel denies to this user is set as near as it allows.
static long set_limit(int resource, const u64 *wanted, const u64 *own) {
  u64 nearest[2];
  long result = pf_call4(SYS_prlimit64, 0, resource, (long)wanted, 0);
  if (result != -EPERM) return result;
  nearest[1] = wanted[1] < own[1] ? wanted[1] : own[1];
  nearest[0] = wanted[0] < nearest[1] ? wanted[0] : nearest[1];
  return pf_call4(SYS_prlimit64, 0, resource, (long)nearest, 0);
}

// What differs from our own; what the kernel denies stays as the daemon has it. Limits come last: some bind at once. Returns 0 or an errno, negated.
static long take_on_attributes(const u32 *wanted, const u32 *own) {
  const u32 *scheduling = wanted + AT_SCHEDULING, *ours = own + AT_SCHEDULING;
  int i;
  long result = 0;
  u64 set[2], limits[2][2], action[4];
  struct sched_attr attributes;
  if (wanted[AT_OOM] != own[AT_OOM] && wanted[AT_OOM] != ~0u) write_number("/proc/self/oom_score_adj", (long)wanted[AT_OOM] - 1000);
  if (wanted[AT_FILTER] != own[AT_FILTER] && wanted[AT_FILTER] != ~0u) write_number("/proc/self/coredump_filter", wanted[AT_FILTER]);
  if (*scheduling == SCHEDULING_SIZE) {
    memcpy(&attributes, scheduling + 1, SCHEDULING_SIZE);
    attributes.size = SCHEDULING_SIZE;
    // The nice value, which is in it for the usual policies, is no reason to set all of it.
    for (i = 1; i < SCHEDULING_SIZE / 4; i++) if (i != 4 && scheduling[1 + i] != (*ours ? ours[1 + i] : 0)) break;
    if (i < SCHEDULING_SIZE / 4) pf_call3(SYS_sched_setattr, 0, (long)&attributes, 0);
    scheduling += SCHEDULING_SIZE / 4;
  }
  if (wanted[AT_NICE] != own[AT_NICE]) pf_call3(SYS_setpriority, 0, 0, (long)wanted[AT_NICE] + NICE_MIN);
  scheduling++;
  ours += 1 + *ours / 4;
  if (*scheduling) {
    for (i = 0; i <= (int)*scheduling / 4; i++) if (scheduling[i] != ours[i]) break;
    if (i <= (int)*scheduling / 4) pf_call3(SYS_sched_setaffinity, 0, *scheduling, (long)(scheduling + 1));
  }
  if (wanted[AT_IO] != own[AT_IO] && wanted[AT_IO] != ~0u) pf_call3(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, (int)wanted[AT_IO]);
  memcpy(set, wanted + AT_SLACK, 8);
  memcpy(set + 1, own + AT_SLACK, 8);
  if (set[0] && set[0] != set[1]) pf_call2(SYS_prctl, PR_SET_TIMERSLACK, (long)set[0]);
  if (wanted[AT_PERSONALITY] != own[AT_PERSONALITY] && wanted[AT_PERSONALITY] != ~0u) pf_call1(SYS_personality, wanted[AT_PERSONALITY]);
  if (wanted[AT_NO_NEW_PRIVILEGES] == 1) pf_call5(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  memcpy(set, wanted + AT_IGNORED, 16);
  memset(action, 0, sizeof action);
  action[0] = SIG_IGN;
  for (i = 1; set[0] >> (i - 1) && i <= SIGNAL_MAX; i++) if (set[0] >> (i - 1) & 1) pf_call4(SYS_rt_sigaction, i, (long)action, 0, 8);
  set_mask(SIG_SETMASK, set[1]);
  for (i = 0; i < RESOURCE_LIMIT_COUNT && !result; i++) {
    memcpy(limits[0], wanted + AT_LIMITS + i * 4, 16);
    memcpy(limits[1], own + AT_LIMITS + i * 4, 16);
    if (limits[0][0] != limits[1][0] || limits[0][1] != limits[1][1]) result = set_limit(i, limits[0], limits[1]);
  }
  return result;
}

// What the job has set of the memory that it has borrowed is ours again.
static void restore_memory(const struct job *j) {
  if (j->attributes[AT_FILTER] != j->own[AT_FILTER] && j->own[AT_FILTER] != ~0u) write_number("/proc/self/coredump_filter", j->own[AT_FILTER]);
}

// Puts each descriptor under its number; all others are close-on-exec. `link`, if there is one, moves behind them. Returns 0 or an errno, negated.
static long take_on_descriptors(const struct job *j, int *sources, long *link) {
  u32 highest = 2, i, given = 0;
  long fd;
  for (i = 0; i < j->count; i++) {
    if (j->descriptors[i * 2] > highest) highest = j->descriptors[i * 2];
    if (j->descriptors[i * 2] < 3) given |= 1u << j->descriptors[i * 2];
  }
  if (link && (*link = pf_call3(SYS_fcntl, *link, F_DUPFD_CLOEXEC, highest + 1)) < 0) return *link;
  // Those that stand where another is to be put move out of the way first.
  for (i = 0; i < j->count; i++) {
    fd = j->fds[j->descriptors[i * 2 + 1]];
    if (fd <= (long)highest) fd = pf_call3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, highest + 1);
    if (fd < 0) return fd;
    sources[i] = (int)fd;
  }
  for (i = 0; i < j->count; i++) {
    fd = pf_call3(SYS_dup3, sources[i], j->descriptors[i * 2], 0);
    if (fd < 0) return fd;
  }
  for (i = 0; i < 3; i++) if (!(given >> i & 1)) pf_call1(SYS_close, i);
  return 0;
}

// Takes on session or group, umask, directory, descriptors and controlling terminal. Returns the stage at which that failed, with the errno.
static u32 take_on_place(const struct job *j, long *link, u32 *error) {
  long result;
  int hasTerminal = j->flags & RUN_controllingTerminal, sources[KERNEL_FDS_MAX];
#define STEP(call, stage) if ((result = (call)) < 0) { *error = (u32)-result; return stage; }
  *error = 0;
  STEP(hasTerminal ? pf_call0(SYS_setsid) : pf_call2(SYS_setpgid, 0, 0), STAGE_session)
  pf_call1(SYS_umask, j->attributes[AT_UMASK]);
  STEP(pf_call1(SYS_fchdir, j->fds[j->directory]), STAGE_directory)
  STEP(take_on_descriptors(j, sources, link), STAGE_descriptors)
  if (hasTerminal) STEP(pf_call3(SYS_ioctl, 0, TIOCSCTTY, 0), STAGE_terminal)
  return 0;
}

// Executes `path`; a script without a "#!" line is given to sh, as by execvp(3) and every shell. Returns an errno, negated. `argv` has a free
// place in front.
static long execute(const char *path, const char **argv, const char **envp) {
  long result = pf_call3(SYS_execve, (long)path, (long)argv, (long)envp);
  if (result != -ENOEXEC) return result;
  const char *name = argv[0];
  argv[-1] = "/bin/sh";
  argv[0] = path;
  result = pf_call3(SYS_execve, (long)argv[-1], (long)(argv - 1), (long)envp);
  argv[0] = name;
  return result;
}

// Whether the search along PATH goes on after this: nothing is there. See execvp(3).
static int is_absent(long error) {
  return error == -ENOENT || error == -ENOTDIR || error == -ENODEV || error == -ESTALE || error == -ETIMEDOUT;
}

// Becomes the program along the caller's PATH. Returns the stage at which that failed, with the errno in `error`.
static u32 become_program(const char **argv, const char **envp, u32 *error) {
  const char *name = argv[0], *path = value_of((char **)envp, "PATH");
  long failure = -ENOENT, result;
  int isPath = has(name, '/'), isPassed, isThere = 0;
  u64 size;
  struct text t;
  char memory[4096];
  if (!path || isPath) path = isPath ? "" : "/bin:/usr/bin";
  if (length(path) > SEARCH_PATH_BYTES_MAX) failure = -E2BIG;
  else if (*name) do {
    for (size = 0; path[size] && path[size] != ':'; size++);
    text_begin(&t, memory, sizeof memory);
    put_bytes(&t, path, size);
    if (size) put(&t, "/"); // an empty one is the working directory itself
    put(&t, name);
    // Looking first is cheaper: an exec copies all words before it finds out.
    result = t.cut ? -ENAMETOOLONG : pf_call4(SYS_faccessat2, AT_FDCWD, (long)memory, X_OK, AT_EACCESS);
    if (!result) { isThere = 1; result = execute(memory, argv, envp); }
    isPassed = is_absent(result) || (result == -ENAMETOOLONG && length(name) <= FILE_NAME_BYTES_MAX);
    if (isPath || !isPassed) failure = result;
    if (!isPassed && result != -EACCES) break;
    path += size;
  } while (*path++ == ':');
  *error = (u32)-failure;
  if (failure == -EACCES && pf_call4(SYS_faccessat2, AT_FDCWD, (long)".", X_OK, AT_EACCESS) == -EACCES) return STAGE_directory;
  return failure == -ENOENT && isThere ? STAGE_interpreter : STAGE_program;
}

// Pointers to the strings of a list, in `at`; returns where it ends.
static const char **point_to(const char **at, struct strings list) {
  for (; list.count; list.count--, list.start += length(list.start) + 1) *at++ = list.start;
  *at = 0;
  return at + 1;
}

// The child's way from its birth to the program. Returns the stage at which it failed.
static u32 become(const struct job *j, u32 *error) {
  long result;
  const char **argv, **envp;
  u32 stage = take_on_place(j, 0, error);
  if (*error) return stage;
  argv = j->pointers + 1;
  envp = point_to(argv, j->argv);
  point_to(envp, j->env);
  STEP(take_on_attributes(j->attributes, j->own), STAGE_limits)
  return become_program(argv, envp, error);
}

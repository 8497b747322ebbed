// The execution context of this process, and its way to the daemon. Until `hand_over` has succeeded nothing has been sent: whatever
// cannot be done here is undone, and Bun begins as if nothing had been tried.

struct context {
  struct asked asked;
  char **environment;
  // A copy of the caller's terminal, -1: there is none; whether we have had the use of it, and know its settings.
  int terminal, isGuarded;
  u64 before; // the signal mask
  int openedCount, opened[8]; // what has been opened here
  u8 settings[TERMIOS_SIZE];
  // The descriptors of the message and their numbers in the job; the first is the directory. Those from 1 to `own` are the caller's own.
  int count, own;
  int fds[KERNEL_FDS_MAX + 1];
  u32 numbers[KERNEL_FDS_MAX + 1];
  struct place place;
};

static int keep(struct context *c, long fd) {
  if (fd >= 0) c->opened[c->openedCount++] = (int)fd;
  return fd < 0 ? -1 : (int)fd;
}

static int is_open(long fd) { return pf_call2(SYS_fcntl, fd, F_GETFD) != -EBADF; }

// What comes later takes the place of what was to have the same number. 0: no room, or the number is too high.
static int pass(struct context *c, u32 number, int fd) {
  int i = 1;
  while (i < c->count && c->numbers[i] != number) i++;
  if (i > JOB_FDS_MAX || number > JOB_FD_NUMBER_MAX) return 0;
  c->numbers[i] = number;
  c->fds[i] = fd;
  if (i == c->count) c->count++;
  return 1;
}

// Passes all that is inherited from 3 on. See proc(5).
static int pass_inherited(struct context *c) {
  long list = pf_call3(SYS_openat, AT_FDCWD, (long)"/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC), size, at, fd;
  const char *name;
  char buffer[2048] __attribute__((aligned(8)));
  if (list < 0) return 0;
  while ((size = pf_call3(SYS_getdents64, list, (long)buffer, sizeof buffer)) > 0) {
    for (at = 0; at < size; at += ((struct dirent64 *)(buffer + at))->reclen) {
      name = ((struct dirent64 *)(buffer + at))->name;
      fd = number_at(&name, 0x7fffffff);
      if (fd < 3 || fd == list) continue;
      if (!pass(c, (u32)fd, (int)fd)) { size = -1; goto out; }
    }
  }
out:
  pf_call1(SYS_close, list);
  return size == 0;
}

// --fd N[:M]. Returns the number in the job; -1: not for us.
static long pass_named(struct context *c, const char *text, int closed) {
  long own = number_at(&text, JOB_FD_NUMBER_MAX), number = own;
  if (own >= 0 && *text == ':') { text++; number = number_at(&text, JOB_FD_NUMBER_MAX); }
  int isGood = own >= 0 && number >= 0 && !*text && !(own < 3 && closed >> own & 1) && is_open(own);
  return isGood && pass(c, (u32)number, (int)own) ? number : -1;
}

// Whether our terminal is ours to use: 1, 0, or -1 for what cannot be told. A terminal that controls nobody has no foreground.
static int in_foreground(void) {
  int group = 0;
  long fd = pf_call3(SYS_openat, AT_FDCWD, (long)"/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
  if (fd == -ENXIO) return 1;
  if (fd < 0) return -1;
  long result = pf_call3(SYS_ioctl, fd, TIOCGPGRP, (long)&group);
  pf_call1(SYS_close, fd);
  return result < 0 ? -1 : group == pf_call1(SYS_getpgid, 0);
}

static int is_terminal(int fd) {
  u8 settings[TERMIOS_SIZE];
  return !pf_call3(SYS_ioctl, fd, TCGETS, (long)settings);
}

// Notes the terminal's settings as soon as we have the use of it.
static void remember_terminal(struct context *c) {
  if (c->terminal >= 0 && !c->isGuarded && in_foreground() == 1) c->isGuarded = !pf_call3(SYS_ioctl, c->terminal, TCGETS, (long)c->settings);
}

// Fills in the descriptors. 0: not for us.
static int gather_descriptors(struct context *c) {
  u64 flags = c->asked.flags;
  int wait = flags & BIT(wait) ? 1 : 0, closed = 0, hasInput = 0, foreground = 1, option, i;
  for (i = 0; i < 3; i++) {
    if (is_open(i)) pass(c, (u32)i, i);
    else closed |= 1 << i;
  }
  // What we open must not take the numbers that are closed: they are closed in the job, too.
  for (i = 0; i < 3; i++) if (closed >> i & 1 && keep(c, pf_call3(SYS_openat, AT_FDCWD, (long)"/", O_PATH | O_CLOEXEC)) < 0) return 0;
  if (flags & BIT(fd)) {
    struct words w;
    words_begin(&w, &c->asked);
    while ((option = next_option(&w)) >= 0) {
      if (option != OPTION_fd) continue;
      long number = pass_named(c, w.value, closed);
      if (number < 0) return 0;
      if (!number) hasInput = 1;
    }
  } else if (wait && !pass_inherited(c)) return 0;
  c->own = c->count;
  for (i = 0; wait && i < 3 && c->terminal < 0; i++) {
    if (closed >> i & 1 || !is_terminal(i)) continue;
    if ((c->terminal = keep(c, pf_call3(SYS_fcntl, i, F_DUPFD_CLOEXEC, 3))) < 0 || (foreground = in_foreground()) < 0) return 0;
  }
  remember_terminal(c);
  // A job nobody waits for, or in the background, would take what is typed at the prompt.
  int isReplaced = flags & BIT(no_stdin) ? 1 : !(flags & BIT(stdin)) && !(closed & 1) && !(wait && foreground) && is_terminal(0);
  if (!isReplaced || hasInput) return 1;
  long null = keep(c, pf_call3(SYS_openat, AT_FDCWD, (long)"/dev/null", O_RDWR | O_CLOEXEC));
  return null >= 0 && pass(c, 0, (int)null);
}

static struct strings strings_of(char **list, u32 count) {
  struct strings s;
  s.start = count ? list[0] : 0;
  s.size = count ? (u64)(list[count - 1] + length(list[count - 1]) + 1 - list[0]) : 0;
  s.count = count;
  return s;
}

// What stands before the first "=", or all of it.
static u64 name_size(const char *entry) { u64 n = 0; while (entry[n] && entry[n] != '=') n++; return n; }
static int has_name(const char *entry, const char *name, u64 size) {
  u64 i = 0;
  while (i < size && entry[i] == name[i]) i++;
  return i == size && name_size(entry) == size;
}

// The last word of --env or --unset (`option`), or else the first, with this name; 0: there is none.
static const char *edit_of(const struct asked *a, int option, int isLast, const char *name, u64 size) {
  struct words w;
  const char *found = 0;
  int at;
  words_begin(&w, a);
  while ((at = next_option(&w)) >= 0) if (at == option && (isLast || !found) && has_name(w.value, name, size)) found = w.value;
  return found;
}

// What a word of --env stands for, NAME=VALUE or a NAME that the caller has; 0: nothing.
static const char *setting_of(char **environment, const char *word, u64 size) {
  if (!word || word[size]) return word;
  while (*environment && !(has_name(*environment, word, size) && (*environment)[size])) environment++;
  return *environment;
}

static void put_entry(struct strings *s, const char *entry) {
  u64 size = length(entry) + 1;
  memcpy((char *)s->start + s->size, entry, size);
  s->size += size;
  s->count++;
}

// The environment as --clear-env, --unset and --env make it: src/domain/environment.ts. 0: not for us.
static int edit_environment(struct strings *s, const struct asked *a, char **environment) {
  u64 room = s->size + 1, size;
  int option, isClear = a->flags & BIT(clear_env) ? 1 : 0;
  char **entry, **earlier;
  const char *set;
  struct words w;
  words_begin(&w, a);
  while ((option = next_option(&w)) >= 0) {
    if (option != OPTION_env && option != OPTION_unset) continue;
    size = name_size(w.value);
    if (!size || (option == OPTION_unset && w.value[size])) return 0;
    room += length(w.value) + 1;
  }
  long memory = pf_call6(SYS_mmap, 0, (long)room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory < 0) return 0;
  s->start = (char *)memory; s->size = 0; s->count = 0;
  for (entry = environment; *entry && !isClear; entry++) {
    size = name_size(*entry);
    set = setting_of(environment, edit_of(a, OPTION_env, 1, *entry, size), size);
    for (earlier = environment; set && earlier < entry && !has_name(*earlier, *entry, size); earlier++);
    if (set) { if (earlier == entry) put_entry(s, set); } // it takes the place of the first of its name
    else if (!edit_of(a, OPTION_unset, 1, *entry, size)) put_entry(s, *entry);
  }
  words_begin(&w, a);
  while ((option = next_option(&w)) >= 0) { // what has no place comes behind all others, each once
    if (option != OPTION_env) continue;
    size = name_size(w.value);
    for (entry = environment; *entry && (isClear || !has_name(*entry, w.value, size)); entry++);
    if (*entry || edit_of(a, OPTION_env, 0, w.value, size) != w.value) continue;
    if ((set = setting_of(environment, edit_of(a, OPTION_env, 1, w.value, size), size))) put_entry(s, set);
  }
  return 1;
}

// Whether there is surely no configuration that could name the command: src/execution/configuration.ts. The daemon need not look then, in
// a directory that might hang.
static int is_unconfigured(struct context *c, const char *cwd) {
  const struct asked *a = &c->asked;
  struct place *p = &c->place;
  const char *name = a->words[a->command], *base = variable(c->environment, "XDG_CONFIG_HOME"), *home = variable(c->environment, "HOME");
  long size = (long)length(cwd);
  struct text t;
  char link[32], target[4096];
  if (!*name || has(name, '/') || place_in(BUILTINS, name) >= 0) return 1;
  if (a->flags & (BIT(env) | BIT(unset) | BIT(clear_env) | BIT(warm))) return 0;
  if (a->directory) {
    text_begin(&t, link, sizeof link);
    put(&t, "/proc/self/fd/");
    put_number(&t, (u64)c->fds[0]);
    size = pf_call4(SYS_readlinkat, AT_FDCWD, (long)link, (long)target, sizeof target);
    cwd = target;
  }
  if (size <= 0 || size >= (long)sizeof target || *cwd != '/') return 0;
  while (size && cwd[size - 1] == '/') size--;
  for (;;) {
    if (is_there(put_place(p, cwd, (u64)size, "prefork.toml"))) return 0;
    if (!size || is_there(put_place(p, cwd, (u64)size, ".git")) == 1) break;
    while (cwd[--size] != '/');
  }
  if (base && *base == '/') put_place(p, base, length(base), "prefork/config.toml");
  else if (home && *home == '/') put_place(p, home, length(home), ".config/prefork/config.toml");
  else return 1;
  return !is_there(p->memory);
}

// Sends the request. 0: nothing has been sent.
static int hand_over(struct context *c, const char *cwd, int isUnconfigured, struct strings argv, struct strings env) {
  const struct asked *a = &c->asked;
  u64 flags = a->flags, size, limit;
  const char *directory = a->directory ? a->directory : *cwd ? cwd : "(deleted)";
  int i, at, n = c->count, isLarge, file = -1;
  long sent;
  u32 shown = (u32)length(directory), counts[4];
  struct header header;
  struct msghdr message;
  struct iovec io[8];
  u32 f[ATTRIBUTES_MAX + 2 * KERNEL_FDS_MAX + 40];
  struct rights rights;
  if (n > JOB_FDS_MAX) c->isGuarded = 0; // no room for the terminal
  f[0] = (flags & BIT(wait) ? RUN_wait : 0) | (flags & BIT(kill_group) ? RUN_killGroup : 0) | (flags & BIT(warm) ? RUN_warm : 0) |
    (c->isGuarded ? RUN_terminalGuard : 0) | (isUnconfigured ? RUN_unconfigured : 0);
  if (!(at = own_attributes(f + 1))) return 0;
  at++;
  if (flags & BIT(wait)) memcpy(f + 1 + AT_BLOCKED, &c->before, 8); // we hold all of them by now
  f[at++] = (u32)a->timeoutMs; f[at++] = (u32)a->killAfterMs; f[at++] = (u32)a->onDisconnect; f[at++] = 0;
  f[at++] = (u32)n - 1;
  for (i = 1; i < n; i++) { f[at++] = c->numbers[i]; f[at++] = (u32)i; }
  if (c->isGuarded) {
    c->fds[n] = c->terminal;
    f[at++] = (u32)n++;
    f[at++] = TERMIOS_SIZE;
    memcpy(f + at, c->settings, TERMIOS_SIZE);
    at += TERMIOS_SIZE / 4;
    f[at++] = 0;
  }
  counts[0] = argv.count; counts[1] = (u32)argv.size; counts[2] = env.count; counts[3] = (u32)env.size;
  io[1].base = f; io[1].size = (u64)at * 4;
  io[2].base = &shown; io[2].size = 4;
  io[3].base = directory; io[3].size = shown;
  io[4].base = counts; io[4].size = 8;
  io[5].base = argv.start; io[5].size = argv.size;
  io[6].base = counts + 2; io[6].size = 8;
  io[7].base = env.start; io[7].size = env.size;
  size = io[1].size + 4 + shown + 16 + argv.size + env.size;
  isLarge = size > INLINE_BODY_BYTES_MAX;
  if (size > BODY_BYTES_MAX) return 0;
  memcpy(&limit, f + 1 + AT_LIMITS + RLIMIT_FSIZE * 4, sizeof limit);
  if (isLarge) { // sealed, so that the daemon can be sure of it
    if (limit < size) return 0; // a memory file is a file, and the limit would end us
    file = keep(c, pf_call2(SYS_memfd_create, (long)"prefork", MFD_SEALABLE));
    if (file < 0 || pf_call3(SYS_writev, file, (long)(io + 1), 7) != (long)size || pf_call3(SYS_fcntl, file, F_ADD_SEALS, ALL_SEALS)) return 0;
  }
  rights.fds[0] = file;
  memcpy(rights.fds + isLarge, c->fds, (u64)n * sizeof(int));
  n += isLarge;
  header.magic = MAGIC; header.major = PROTOCOL_MAJOR; header.type = MESSAGE_run; header.flags = isLarge ? FLAG_BODY_IN_MEMFD : 0;
  header.size = (u32)size; header.fds = (u32)n; header.id = 0;
  io[0].base = &header; io[0].size = sizeof header;
  rights.header.len = sizeof rights.header + (u64)n * sizeof(int); rights.header.level = SOL_SOCKET; rights.header.type = SCM_RIGHTS;
  memset(&message, 0, sizeof message);
  message.iov = io; message.iovlen = isLarge ? 1 : 8;
  message.control = &rights; message.controllen = (rights.header.len + 7) & ~7ul;
  do sent = pf_call3(SYS_sendmsg, c->place.socket, (long)&message, MSG_NOSIGNAL); while (sent == -EINTR);
  return sent == (long)(sizeof header + (isLarge ? 0 : size));
}

// The client: `pfc`, `prefork run`.

// Keeps what the conversation needs. What the job has is the job's alone: who is at the other end of a pipe must see when the job lets go
// of it. Standard error stays, for what we ourselves may have to say.
static void let_go(const struct context *c, int signals) {
  int kept[3], i;
  long from = 3, next;
  kept[0] = c->place.socket; kept[1] = signals; kept[2] = c->terminal;
  pf_call3(SYS_close_range, 0, 1, 0);
  do {
    for (next = 0x7fffffff, i = 0; i < 3; i++) if (kept[i] >= from && kept[i] < next) next = kept[i];
    if (next > from) pf_call3(SYS_close_range, from, next - 1, 0);
    from = next + 1;
  } while (next < 0x7fffffff);
}

// Runs the command that `words` name from `options` on. Returns our exit status, a signal to end by (below 0), or NOT_OURS: nothing has been
// done, and Bun is to do all of it: help, `--tty`, a daemon to be launched, whatever has to be explained.
enum { NOT_OURS = 256 };
static int client(struct context *c, char **environment, char **words, int count, int options) {
  const char *forced = variable(environment, "PREFORK_CLIENT");
  const struct asked *a = &c->asked;
  u32 variables = 0;
  int signals = -1, isSent = 0, isUnconfigured, wait, status;
  u64 all = ~0ul;
  struct strings argv, env;
  char cwd[4096];
  if ((forced && same(forced, "bun")) || variable(environment, "BUN_BE_BUN")) return NOT_OURS;
  c->asked.words = words; c->asked.count = count; c->asked.options = options;
  c->environment = environment;
  c->count = 1; c->openedCount = 0; c->terminal = -1; c->isGuarded = 0;
  if (!read_words(&c->asked)) return NOT_OURS;
  wait = a->flags & BIT(wait) ? 1 : 0;
  while (environment[variables]) variables++;
  argv = strings_of(words + a->command, (u32)(count - a->command));
  env = strings_of(environment, variables);
  if (a->flags & (BIT(env) | BIT(unset) | BIT(clear_env)) && !edit_environment(&env, a, environment)) return NOT_OURS;
  if (pf_call2(SYS_getcwd, (long)cwd, sizeof cwd) <= 0 || *cwd != '/') *cwd = 0; // it has no path any more
  if (!gather_descriptors(c)) goto out;
  c->fds[0] = keep(c, pf_call3(SYS_openat, AT_FDCWD, (long)(a->directory ? a->directory : "."), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (c->fds[0] < 0 || (a->directory && !*a->directory)) goto out;
  isUnconfigured = is_unconfigured(c, cwd);
  if (find_daemon(&c->place, a, environment, cwd) < 0) goto out;
  keep(c, c->place.socket);
  if (wait) {
    if ((signals = keep(c, pf_call4(SYS_signalfd4, -1, (long)&all, 8, SFD_FLAGS))) < 0) goto out;
    if (pf_call4(SYS_rt_sigprocmask, SIG_BLOCK, (long)&all, (long)&c->before, 8)) goto out;
  }
  isSent = hand_over(c, cwd, isUnconfigured, argv, env);
  if (!isSent && wait) set_mask(SIG_SETMASK, c->before);
out:
  if (!isSent) {
    while (c->openedCount) pf_call1(SYS_close, c->opened[--c->openedCount]);
    return NOT_OURS;
  }
  if (wait) let_go(c, signals);
  status = converse(c, signals);
  settle_terminal(c); // a job that was killed has left it as it was just then
  return status;
}
